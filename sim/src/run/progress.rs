//! Bars on a terminal, one per mode; one line per run elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::console::Console;

// Fast enough to look alive, slow enough to cost nothing beside the measurement.
const EVERY: Duration = Duration::from_millis(100);
// A rate over the whole run would count the time before the first record.
const RATE_OVER: Duration = Duration::from_secs(1);

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
        RunProgress {
            console: self.console,
            label,
            bar,
            began: Instant::now(),
            drawn: None,
            phase: String::new(),
            rate: Rate::default(),
        }
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
    let template =
        format!("{{prefix:{}}} {{bar:28}} {{human_pos:>9}}/{{human_len}}  {{msg}}", name_width + 4);
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
    phase: String,
    rate: Rate,
}

impl RunProgress {
    /// Says what is going on.
    pub(crate) fn phase(&mut self, what: &str) {
        what.clone_into(&mut self.phase);
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
            let message = match self.rate.per_second(Instant::now(), done) {
                0 => self.phase.clone(),
                rate => format!("{} {}/s", self.phase, HumanCount(rate)),
            };
            bar.set_message(message);
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

/// Records per second over the last stretch.
#[derive(Debug, Default)]
struct Rate {
    marks: VecDeque<(Instant, u64)>,
}

impl Rate {
    fn per_second(&mut self, now: Instant, done: u64) -> u64 {
        self.marks.push_back((now, done));
        while self.marks.len() > 2 && now.duration_since(self.marks[1].0) >= RATE_OVER {
            self.marks.pop_front();
        }
        let (since, before) = self.marks[0];
        let seconds = now.duration_since(since).as_secs_f64();
        if seconds > 0.0 { (done.saturating_sub(before) as f64 / seconds).round() as u64 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_forgets_what_was_before_the_last_second() {
        let start = Instant::now();
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(start, 0), 0, "no time, no rate");
        for tenth in 1..=50 {
            rate.per_second(start + EVERY * tenth, 0);
        }
        let mut last = 0;
        for tenth in 51..=70 {
            last = rate.per_second(start + EVERY * tenth, u64::from(tenth - 50) * 100);
        }
        assert_eq!(last, 1000);
    }
}
