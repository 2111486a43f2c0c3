//! What the programs cost traffic that nobody monitors: the same loads in turn by a client that they are attached to and
//! by clients that they are not, all beside the same running agent.
//!
//! ```text
//!  namespace of the lab's clients                      namespace of its origin
//!    client "with": the cgroup that is steered  ──┐
//!    client "without": another cgroup           ──┼──►  server, dnsmasq
//!    client "again": as "without"               ──┘
//! ```
//! Slots of a fraction of a second take turns, so that what else the machine does falls on all alike. `again` compared
//! to `without` shows how much of a difference is noise.

mod client;
mod hooks;
mod load;
mod report;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::Lab;
use lab::agent::{Agent, BINARY_VARIABLE, Settings};

use crate::command::say;
use crate::workspace::is_root;
use crate::{build, setup};
use client::Client;
use load::{LOADS, Load, Sample};
use report::Series;

/// Site of the lab that no policy selects, and its address.
pub(super) const SITE: (&str, &str) = ("other.example.test", "198.18.0.20");

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rounds; each has a slot of every load for every client
    #[arg(long, default_value_t = 60)]
    rounds: usize,
    /// Milliseconds of a slot
    #[arg(long, default_value_t = 80)]
    slot: u64,
    /// Only loads whose name contains this; may be given again
    #[arg(long)]
    load: Vec<String>,
    /// Measure this build of the agent instead of making one
    #[arg(long, value_name = "BINARY")]
    agent: Option<PathBuf>,
}

/// One end of the traffic, as a process of its own in its place of the lab.
#[derive(clap::Args)]
pub(crate) struct End {
    #[arg(value_enum)]
    role: Role,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Role {
    Client,
    Server,
}

pub(crate) fn end(end: &End) -> Result<()> {
    match end.role {
        Role::Client => client::serve(),
        Role::Server => server::serve(),
    }
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    ensure!(is_root(), "this takes root (network namespaces, cgroups, kernel programs): run it as root");
    ensure!(arguments.rounds > 0 && arguments.slot > 0, "no rounds and no time: nothing would be measured");
    setup::lab()?;
    let binary = match (&arguments.agent, std::env::var_os(BINARY_VARIABLE)) {
        (Some(given), _) => {
            given.canonicalize().with_context(|| format!("cannot read {}", given.display()))?
        }
        (None, Some(given)) => given.into(),
        (None, None) => build::agent()?,
    };
    let lab = Lab::start().context("cannot build the lab")?;
    // Every load but one goes to a port that the programs look at: the dearest kind of traffic they leave alone.
    let ports = server::WATCHED.map(|port| port.to_string()).join(", ");
    let steering = format!(
        "mode = \"host\"\nports = [{ports}]\ncgroup = \"{}\"\nlisten = \"127.0.0.1:0\"\n",
        lab.cgroup().display()
    );
    let settings = Settings { binary: Some(binary), steering: Some(steering), ..Settings::default() };
    let mut agent = Agent::start(&lab, &settings)?;
    let _server = Client::start("server", lab.origin_place(), "server")?;
    let slot = Duration::from_millis(arguments.slot);

    let mut with = Client::start("with", lab.client(), "client")?;
    let mut without = Client::start("without", lab.bystander(), "client")?;
    let mut again = Client::start("again", lab.bystander(), "client")?;
    for client in [&mut with, &mut without, &mut again] {
        // The resolver's answers come first among the loads: from here on they explain the site's address.
        for load in &LOADS {
            client.measure(load, slot / 4)?;
        }
    }
    let before = hooks::counters(&agent)?;

    let wanted = |load: &&'static Load| {
        arguments.load.is_empty() || arguments.load.iter().any(|part| load.name.contains(part.as_str()))
    };
    let loads: Vec<&'static Load> = LOADS.iter().filter(wanted).collect();
    ensure!(!loads.is_empty(), "no load has such a name");
    let mut series: Vec<Series> = loads.iter().copied().map(Series::new).collect();
    for round in 0..arguments.rounds {
        for (load, series) in loads.iter().copied().zip(&mut series) {
            // Each client comes first, in the middle and last equally often.
            let mut taken: [Option<Sample>; 3] = [const { None }; 3];
            for turn in 0..3 {
                let place = (turn + round) % 3;
                let client = [&mut with, &mut without, &mut again].into_iter().nth(place);
                let client = client.context("there are three clients")?;
                if let Some(slot_of) = taken.get_mut(place) {
                    *slot_of = Some(client.measure(load, slot)?);
                }
            }
            let [Some(with), Some(without), Some(again)] = taken else { continue };
            series.add(with, without, again);
        }
        if (round + 1).is_multiple_of(10) {
            say(format_args!("{} of {} rounds", round + 1, arguments.rounds));
        }
    }
    let after = hooks::counters(&agent)?;
    let looked_at = after.watched() > before.watched() || !loads.iter().any(|load| load.says_first_words);
    ensure!(
        before.steered() == after.steered() && looked_at,
        "this was not traffic that is left alone: {before:?}, then {after:?}"
    );

    // Apart from the rounds above: the kernel's clock costs every run of a program some 40 ns.
    let hooks = hooks::measure(&agent, &loads, |load| {
        let mut things = 0.0;
        for _ in 0..4 {
            things += with.measure(load, slot)?.count;
        }
        Ok(things)
    })?;
    agent.stop()?;
    report::show(&series, &loads, &hooks, arguments.rounds, slot)
}
