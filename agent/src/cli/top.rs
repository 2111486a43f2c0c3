//! `portcullis top`: what goes on, live: activities a minute by action, apps, connections, how long verdicts take. Asks the
//! control socket once a second.

mod sample;

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::iter;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};

use super::status::{NOT_RUNNING, TIMEOUT};
use super::terminal::clean;
use crate::admin::client::{AskError, ask};
use crate::admin::control::Command;
use crate::admin::health::Condition;
use crate::admin::status::Status;
use sample::{Change, Sample};

const EVERY: Duration = Duration::from_secs(1);
/// Seconds over which rates are taken, and shown as history.
const WINDOW: usize = 60;
const HISTORY: usize = 600;
/// How often keys are looked for.
const KEYS: Duration = Duration::from_millis(100);

/// Show live what the agent does. q or Ctrl-C ends it.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TopArgs {
    /// Print one look, without a terminal, after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub once: Option<u64>,
}

/// One answer of the agent.
struct Look {
    status: Status,
    sample: Sample,
}

pub(super) fn run(args: &TopArgs, socket: &Path) -> ExitCode {
    let shown = match args.once {
        Some(seconds) => once(socket, Duration::from_secs(seconds.clamp(1, 3600))),
        None if io::stdout().is_terminal() => live(socket),
        None => {
            let _ = writeln!(io::stderr(), "portcullis: the output is no terminal: use --once SECONDS");
            return ExitCode::from(super::USAGE);
        }
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fault::Ask(error)) => {
            let _ = writeln!(io::stderr(), "portcullis: {}", clean(&error.to_string()));
            match error {
                AskError::NotRunning(_) => ExitCode::from(NOT_RUNNING),
                _ => ExitCode::FAILURE,
            }
        }
        Err(Fault::Terminal(error)) => {
            let _ = writeln!(io::stderr(), "portcullis: the terminal: {error}");
            ExitCode::FAILURE
        }
    }
}

enum Fault {
    Ask(AskError),
    Terminal(io::Error),
}

fn look(socket: &Path) -> Result<Look, Fault> {
    let status = ask::<Status>(socket, &Command::Status, TIMEOUT).map_err(Fault::Ask)?;
    let text = ask::<String>(socket, &Command::Metrics, TIMEOUT).map_err(Fault::Ask)?;
    Ok(Look { status, sample: Sample::read(&text) })
}

fn once(socket: &Path, time: Duration) -> Result<(), Fault> {
    let before = look(socket)?;
    let began = Instant::now();
    std::thread::sleep(time);
    let after = look(socket)?;
    let change = after.sample.since(&before.sample, began.elapsed());
    let mut out = io::stdout().lock();
    writeln!(out, "{}", headline(&after.status))
        .and_then(|()| writeln!(out, "{}", rates(&after.sample, &change)))
        .and_then(|()| {
            change.apps.iter().try_for_each(|app| {
                let [allow, monitor, block] = app.per_minute;
                writeln!(
                    out,
                    "{}: {allow:.0} allowed, {monitor:.0} monitored, {block:.0} blocked a minute",
                    clean(&app.id)
                )
            })
        })
        .map_err(Fault::Terminal)
}

fn live(socket: &Path) -> Result<(), Fault> {
    let mut screen = Screen::new(look(socket)?);
    let mut terminal = ratatui::init();
    let shown = show(&mut terminal, &mut screen, socket);
    ratatui::restore();
    shown
}

fn show(terminal: &mut ratatui::DefaultTerminal, screen: &mut Screen, socket: &Path) -> Result<(), Fault> {
    let mut next = Instant::now() + EVERY;
    loop {
        terminal.draw(|frame| screen.draw(frame)).map_err(Fault::Terminal)?;
        while Instant::now() < next {
            if event::poll(KEYS).map_err(Fault::Terminal)?
                && let Event::Key(key) = event::read().map_err(Fault::Terminal)?
            {
                let control = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('c') if control => return Ok(()),
                    _ => {}
                }
            }
        }
        next = Instant::now() + EVERY;
        // An agent that restarts is waited for; the last look stays, and says so.
        match look(socket) {
            Ok(look) => screen.add(look),
            Err(Fault::Ask(error)) => screen.trouble = Some(error.to_string()),
            Err(fault) => return Err(fault),
        }
    }
}

/// What is on the screen.
struct Screen {
    status: Status,
    samples: VecDeque<(Instant, Sample)>,
    /// Activities in each second of the history: allowed, monitored, blocked.
    history: VecDeque<[u64; 3]>,
    trouble: Option<String>,
}

impl Screen {
    fn new(first: Look) -> Self {
        Self {
            status: first.status,
            samples: VecDeque::from([(Instant::now(), first.sample)]),
            history: VecDeque::new(),
            trouble: None,
        }
    }

    fn add(&mut self, look: Look) {
        self.trouble = None;
        if let Some((_, last)) = self.samples.back() {
            let change = look.sample.since(last, EVERY);
            self.history.push_back(change.activities);
            while self.history.len() > HISTORY {
                self.history.pop_front();
            }
        }
        if look.status.pid != self.status.pid {
            // Another process counts from zero.
            self.samples.clear();
        }
        self.status = look.status;
        self.samples.push_back((Instant::now(), look.sample));
        while self.samples.len() > WINDOW + 1 {
            self.samples.pop_front();
        }
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let [head, numbers, history, apps] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(3),
            Constraint::Length(12),
            Constraint::Min(3),
        ])
        .areas(frame.area());
        let well =
            self.trouble.is_none() && self.status.health.iter().all(|part| part.condition == Condition::Ok);
        let said =
            self.trouble.as_ref().map_or_else(|| headline(&self.status), |why| clean(why).into_owned());
        let style = Style::new().fg(if well { Color::Green } else { Color::Yellow });
        frame.render_widget(Paragraph::new(Line::styled(said, style)), head);
        let (Some((first, before)), Some((last, now))) = (self.samples.front(), self.samples.back()) else {
            return;
        };
        let change = now.since(before, last.duration_since(*first));
        frame.render_widget(Paragraph::new(rates(now, &change)), numbers);
        let lines = Layout::vertical([Constraint::Ratio(1, 3); 3]).split(history);
        let kinds = [("allowed", Color::Green), ("monitored", Color::Yellow), ("blocked", Color::Red)];
        for (at, ((name, colour), area)) in kinds.into_iter().zip(lines.iter()).enumerate() {
            let data: Vec<u64> = self.history.iter().filter_map(|counts| counts.get(at).copied()).collect();
            let from = data.len().saturating_sub(usize::from(area.width));
            let title = format!("{name}, each second");
            let plot = Sparkline::default()
                .data(data.get(from..).unwrap_or_default())
                .style(Style::new().fg(colour))
                .block(Block::new().title(title.bold()));
            frame.render_widget(plot, *area);
        }
        let rows = change.apps.iter().map(|app| {
            let [allow, monitor, block] = app.per_minute.map(|rate| format!("{rate:.0}"));
            let [allowed, monitored, blocked] = app.total.map(|total| total.to_string());
            let numbers = [allow, monitor, block, allowed, monitored, blocked];
            line(clean(&app.id).into_owned(), numbers)
        });
        let widths = [
            Constraint::Min(16),
            Constraint::Length(10),
            Constraint::Length(10),
            Constraint::Length(10),
            Constraint::Length(10),
            Constraint::Length(10),
            Constraint::Length(10),
        ];
        let heads = ["ALLOW/MIN", "MON/MIN", "BLOCK/MIN", "ALLOWED", "MONITORED", "BLOCKED"];
        let head = line("APP".to_owned(), heads.map(str::to_owned));
        frame.render_widget(Table::new(rows, widths).header(head.bold()), apps);
    }
}

/// A name, and numbers that end beneath each other.
fn line(name: String, numbers: [String; 6]) -> Row<'static> {
    Row::new(iter::once(Line::from(name)).chain(numbers.into_iter().map(|n| Line::from(n).right_aligned())))
}

fn headline(status: &Status) -> String {
    let unwell = status.health.iter().filter(|part| part.condition != Condition::Ok);
    let unwell: Vec<&str> = unwell.map(|part| part.part.name()).collect();
    let health =
        if unwell.is_empty() { "all well".to_owned() } else { format!("not well: {}", unwell.join(", ")) };
    let text = format!(
        "portcullis {}, pid {}, {} mode, {} policies, {} apps, {health}",
        status.version, status.pid, status.mode, status.policies.count, status.policies.apps
    );
    clean(&text).into_owned()
}

fn rates(now: &Sample, change: &Change) -> String {
    let [allow, monitor, block] = change.per_minute;
    let latency = |quantile: f64| {
        change.verdict(quantile).map_or_else(|| "-".to_owned(), |seconds| format!("{:.0} µs", seconds * 1e6))
    };
    format!(
        "{} connections open; a minute: {allow:.0} allowed, {monitor:.0} monitored, {block:.0} blocked\n\
         verdicts: half within {}, 99 of 100 within {}; {} records lost",
        now.active_connections,
        latency(0.5),
        latency(0.99),
        now.lost,
    )
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::cli::status::tests::status;

    #[test]
    fn the_screen_shows_rates_and_apps_at_any_size() {
        let text = |block: u64| {
            format!(
                "portcullis_active_connections 3\n\
                 portcullis_activities_total{{app=\"corp-files\",type=\"download\",action=\"block\"}} {block}\n"
            )
        };
        let mut screen = Screen::new(Look { status: status(), sample: Sample::read(&text(1)) });
        screen.add(Look { status: status(), sample: Sample::read(&text(7)) });
        for (width, height) in [(120, 30), (80, 24), (20, 5), (1, 1)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| screen.draw(frame)).unwrap();
            let shown = terminal.backend().to_string();
            if width >= 80 {
                assert!(shown.contains("corp-files") && shown.contains("3 connections open"), "{shown}");
            }
        }
        assert_eq!(screen.history.back(), Some(&[0, 0, 6]));
        for _ in 0..2 * HISTORY {
            screen.add(Look { status: status(), sample: Sample::read(&text(7)) });
        }
        assert_eq!((screen.history.len(), screen.samples.len()), (HISTORY, WINDOW + 1));
    }
}
