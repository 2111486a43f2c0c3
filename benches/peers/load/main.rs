//! The load generator: one kind of work against one target, and what it took as one line of JSON.
//!
//! It pins TLS 1.3 with AES-128-GCM and X25519 and resumes nothing, so that every system does the same cryptography. It
//! runs on one thread: what a system costs is read from the system's own CPU time, not from here.
#![allow(clippy::print_stdout, reason = "the report is its output")]

mod client;
mod tally;

use std::cell::Cell;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use tokio::task::LocalSet;

use client::{Client, Protocol, Target};
use tally::Tally;

#[derive(Parser)]
#[command(args_override_self = true)]
struct Arguments {
    /// Address to connect to: the origin's, or a proxy's
    #[arg(long)]
    target: SocketAddr,
    /// Ask the target for a tunnel to this authority first
    #[arg(long)]
    connect: Option<String>,
    /// Host name of the origin, for SNI, verification and Host
    #[arg(long, default_value = "origin.bench.test")]
    name: String,
    /// Certificates to trust, PEM; may be repeated
    #[arg(long)]
    trust: Vec<PathBuf>,
    #[arg(long, value_enum, default_value = "h1")]
    protocol: Protocol,
    #[arg(long, default_value = "/1k")]
    path: String,
    /// Each connection is for a name of its own: a number from this one on, in front of the name
    #[arg(long)]
    names_from: Option<u64>,
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// One request on one connection
    Once,
    /// Each of CONNECTIONS sends the next request when it has the response, for SECONDS; over HTTP/2 on each of STREAMS
    Closed {
        connections: usize,
        seconds: f64,
        #[arg(default_value_t = 1)]
        streams: usize,
    },
    /// COUNT connections one after another, AT_ONCE at a time, each with one request
    Fresh { count: usize, at_once: usize },
    /// COUNT connections that made one request; says READY, and holds them until standard input ends
    Idle { count: usize },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let target = Rc::new(Target {
        address: arguments.target,
        connect: arguments.connect,
        name: arguments.name,
        tls: client::configuration(&arguments.trust, arguments.protocol)?,
        protocol: arguments.protocol,
        path: arguments.path,
        names_from: arguments.names_from.map(Cell::new),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tally = LocalSet::new().block_on(&runtime, run(target, arguments.work))?;
    println!("{}", tally.report());
    Ok(())
}

async fn run(target: Rc<Target>, work: Work) -> Result<Tally> {
    match work {
        Work::Once => {
            let mut tally = Tally::begin();
            let mut client = Client::open(&target).await.context("connecting")?;
            tally.exchange(&mut client).await?;
            Ok(tally)
        }
        Work::Closed { connections, seconds, streams } => {
            let mut tasks = Vec::new();
            for _ in 0..connections {
                // Opened, and warm, before the clock runs.
                let mut client = Client::open(&target).await.context("connecting")?;
                client.get().await?;
                for _ in 1..streams {
                    tasks.push(client.another()?);
                }
                tasks.push(client);
            }
            let until = Instant::now() + Duration::from_secs_f64(seconds);
            gather(tasks.into_iter().map(|mut client| async move {
                let mut tally = Tally::begin();
                while Instant::now() < until {
                    tally.exchange(&mut client).await?;
                }
                Ok(tally)
            }))
            .await
        }
        Work::Fresh { count, at_once } => {
            let each = count.div_ceil(at_once.max(1));
            gather((0..at_once.max(1)).map(|_| {
                let target = target.clone();
                async move {
                    let mut tally = Tally::begin();
                    for _ in 0..each {
                        let begun = Instant::now();
                        let mut client = Client::open(&target).await?;
                        let bytes = client.get().await?;
                        tally.add(begun.elapsed(), bytes);
                    }
                    Ok(tally)
                }
            }))
            .await
        }
        Work::Idle { count } => {
            let mut tally = Tally::begin();
            let mut held = Vec::new();
            for _ in 0..count {
                let mut client = Client::open(&target).await.context("connecting")?;
                tally.exchange(&mut client).await?;
                client.settle();
                held.push(client);
            }
            println!("READY {}", held.len());
            tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await??;
            Ok(tally)
        }
    }
}

async fn gather<F: Future<Output = Result<Tally>> + 'static>(work: impl Iterator<Item = F>) -> Result<Tally> {
    let tasks: Vec<_> = work.map(tokio::task::spawn_local).collect();
    let mut all = Tally::begin();
    for task in tasks {
        all.take(task.await??);
    }
    Ok(all)
}
