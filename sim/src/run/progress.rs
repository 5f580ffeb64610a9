//! Bars on a terminal, one per mode; one line per run elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::console::Console;

// Fast enough to look alive, slow enough to cost nothing beside the measurement.
const EVERY: Duration = Duration::from_millis(100);

/// The progress of one scenario.
#[derive(Debug)]
pub(crate) struct Progress {
    console: Console,
    bars: Option<MultiProgress>,
    by_mode: BTreeMap<String, ProgressBar>,
    name_width: usize,
}

impl Progress {
    /// Nothing is drawn before the first run begins.
    pub(crate) fn new<'a>(console: Console, modes: impl Iterator<Item = &'a str>) -> Self {
        let bars = console
            .shows_progress()
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        Self { console, bars, by_mode: BTreeMap::new(), name_width: modes.map(str::len).max().unwrap_or(0) }
    }

    /// A run of a mode begins; its bar is drawn, or started again.
    pub(crate) fn begin(&mut self, mode: &str, run: u32, runs: u32) -> RunProgress {
        let label = if runs > 1 { format!("{mode} {run}/{runs}") } else { mode.to_owned() };
        let bar = self.bars.as_ref().map(|bars| {
            let bar = self.by_mode.entry(mode.to_owned()).or_insert_with(|| bars.add(ProgressBar::new(0)));
            bar.reset();
            bar.set_length(0);
            bar.set_style(style(self.name_width));
            bar.set_prefix(label.clone());
            bar.enable_steady_tick(EVERY);
            bar.clone()
        });
        RunProgress { console: self.console, label, bar, began: Instant::now(), drawn: None }
    }

    /// Lets somebody print between the bars.
    pub(crate) fn aside(&self, print: impl FnOnce()) {
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }

    /// Takes the bars away, so that results can be printed.
    pub(crate) fn finish(&mut self) {
        if let Some(bars) = &self.bars {
            let _ = bars.clear();
        }
        self.by_mode.clear();
    }
}

fn style(name_width: usize) -> ProgressStyle {
    let template = format!(
        "{{prefix:{}}} {{bar:28}} {{human_pos:>9}}/{{human_len}} {{per_sec:>12}}  {{msg}}",
        name_width + 4
    );
    // A template that does not parse costs the looks, not the run.
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The progress of one run of one mode.
#[derive(Debug)]
pub(crate) struct RunProgress {
    console: Console,
    label: String,
    bar: Option<ProgressBar>,
    began: Instant,
    drawn: Option<Instant>,
}

impl RunProgress {
    /// Says what is going on.
    pub(crate) fn phase(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    /// Whether [`Self::records`] would draw: counting is not free.
    pub(crate) fn is_due(&self) -> bool {
        self.bar.is_some() && self.drawn.is_none_or(|drawn| drawn.elapsed() >= EVERY)
    }

    /// So many records were delivered, of so many so far produced.
    pub(crate) fn records(&mut self, (done, all): (u64, u64)) {
        if let Some(bar) = &self.bar {
            bar.set_length(all);
            bar.set_position(done);
        }
        self.drawn = Some(Instant::now());
    }

    /// The run is over; `how` ends its line.
    pub(crate) fn end(self, (done, _): (u64, u64), how: &str) {
        match self.bar {
            Some(bar) => {
                bar.disable_steady_tick();
                bar.abandon_with_message(how.to_owned());
            }
            None => {
                let seconds = self.began.elapsed().as_secs_f64();
                self.console.note(&format!("{}: {done} records, {seconds:.1} s, {how}", self.label));
            }
        }
    }
}
