//! Events as progress bars on a terminal, as plain lines elsewhere, as JSON for programs.
//!
//! Narration goes to stderr, JSON to stdout. Plain lines of progress come every 30 seconds.

use super::human;
use engine::event::{Event, Sink};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    sync::Mutex,
    time::{Duration, Instant},
};

const PLAIN_EVERY: Duration = Duration::from_secs(30);

/// Draws bars and lines.
pub(crate) struct Terminal {
    bars: Option<MultiProgress>,
    state: Mutex<BTreeMap<(String, String), Work>>,
}

struct Work {
    bar: Option<ProgressBar>,
    started: Instant,
    said: Instant,
    first: u64,
}

impl Terminal {
    /// Bars if stderr is a terminal, lines if not.
    pub(crate) fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self {
            bars,
            state: Mutex::default(),
        }
    }

    fn say(&self, text: &str) {
        match &self.bars {
            Some(bars) => {
                // A line that cannot be written must not fail a run.
                let _ = bars.println(text);
            }
            None => anstream::eprintln!("{text}"),
        }
    }

    fn progress(
        &self,
        key: (String, String),
        unit: &str,
        done: u64,
        total: Option<u64>,
        finished: bool,
    ) {
        let mut state = self.state.lock().expect("no panic inside");
        let now = Instant::now();
        let work = state.entry(key.clone()).or_insert_with(|| Work {
            bar: self
                .bars
                .as_ref()
                .map(|bars| bars.add(bar(&key, unit, total))),
            started: now,
            said: now,
            first: done,
        });
        if let Some(bar) = &work.bar {
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_position(done);
        } else if now.duration_since(work.said) >= PLAIN_EVERY && !finished {
            work.said = now;
            let elapsed = now.duration_since(work.started).as_secs_f64();
            let rate = (done - work.first) as f64 / elapsed.max(1e-9);
            let left = total.map(|total| total.saturating_sub(done) as f64 / rate.max(1e-9));
            let of = total
                .map(|total| format!(" of {}", human::count(total)))
                .unwrap_or_default();
            let left = left
                .map(|left| format!(", {} left", human::seconds(left)))
                .unwrap_or_default();
            let (node, label) = &key;
            anstream::eprintln!(
                "  {node}: {label} {}{of} {unit}, {}/s{left}",
                human::count(done),
                human::number(rate.round())
            );
        }
        if finished
            && let Some(work) = state.remove(&key)
            && let Some(bar) = work.bar
        {
            bar.finish_and_clear();
        }
    }
}

fn bar((node, label): &(String, String), unit: &str, total: Option<u64>) -> ProgressBar {
    let template = if total.is_some() {
        format!(
            "  {{prefix}} {{bar:28}} {{human_pos}}/{{human_len}} {unit}  {{per_sec}}  {{eta}} left"
        )
    } else {
        format!("  {{prefix}} {{spinner}} {{human_pos}} {unit}  {{per_sec}}")
    };
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let style = ProgressStyle::with_template(&template).expect("the template is ours");
    bar.set_style(style.progress_chars("━╸─"));
    bar.set_prefix(format!("{node}: {label}"));
    bar
}

impl Sink for Terminal {
    fn event(&self, event: Event) {
        match event {
            Event::Hit { .. } => {}
            Event::CodeChanged { node, files } => self.say(&format!(
                "  {node}: made by other source text ({}); raise its VERSION, or `iota accept {node}`",
                files.join(", ")
            )),
            Event::Started { node, key, resume } => {
                let resume = resume.map(|place| format!(", resuming {place}")).unwrap_or_default();
                self.say(&format!("▸ {node} ({key}){resume}"));
            }
            Event::Waiting { node, holder } => self.say(&format!(
                "  {node}: waiting for {}, which is running it",
                holder.unwrap_or_else(|| "another process".into())
            )),
            Event::Progress { node, label, unit, done, total, finished } => {
                self.progress((node, label), &unit, done, total, finished);
            }
            Event::Info { node, text } => self.say(&format!("  {node}: {text}")),
            Event::Warning { node, text } => self.say(&format!("  {node}: warning: {text}")),
            Event::Finished { node, wall_s, metrics, unchanged, .. } => {
                let same = if unchanged { ", same output as before" } else { "" };
                self.say(&format!("✓ {node} in {}{same}{}", human::seconds(wall_s), listed(&metrics)));
            }
            Event::Failed { node, message } => self.say(&format!("✗ {node}: {message}")),
        }
    }
}

/// The first few numbers of a stage.
fn listed(metrics: &BTreeMap<String, f64>) -> String {
    const SHOWN: usize = 6;
    let mut text = String::new();
    for (name, value) in metrics
        .iter()
        .filter(|(_, value)| **value != 0.0)
        .take(SHOWN)
    {
        text += if text.is_empty() { ": " } else { ", " };
        text += name;
        text += " ";
        text += &human::number(*value);
    }
    text
}

/// Writes every event as one line of JSON.
pub(crate) struct Json;

impl Sink for Json {
    fn event(&self, event: Event) {
        let mut out = std::io::stdout().lock();
        if let Ok(line) = serde_json::to_string(&event) {
            // A reader that went away is no reason to stop training.
            let _ = writeln!(out, "{line}");
        }
    }
}
