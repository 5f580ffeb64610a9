//! One run of one mode, from empty topics to the broker's last word on its offsets.

use std::path::Path;
use std::time::{Duration, Instant};

use fairpoll_judge::event::{Body, Origin, Outcome, Phase};

use super::crew::{Crew, Recipe};
use super::fault_schedule::FaultSchedule;
use super::life::{Purpose, Trouble};
use super::progress::RunProgress;
use super::spec::Part;
use super::stage::{Stage, Target};
use super::tally::Tally;
use crate::event_log::EventSink;

// How often the stage is asked whether it still stands.
const CHECK_EVERY: Duration = Duration::from_millis(250);

/// One run of one mode, ready to go.
pub(crate) struct ModeRun<'a> {
    /// Which.
    pub(crate) part: &'a Part<'a>,
    /// What to start as its worker.
    pub(crate) command: &'a [String],
    /// Receives the worker's standard error.
    pub(crate) log: &'a Path,
    /// Its topics and their load.
    pub(crate) stage: &'a mut dyn Stage,
    /// Receives its events.
    pub(crate) sink: &'a EventSink,
    /// Shows how far it is.
    pub(crate) progress: &'a mut RunProgress,
}

impl ModeRun<'_> {
    /// Runs it. What was measured stands in the log, whatever the answer; only
    /// [`Body::RunEnded`] is left to the caller.
    ///
    /// # Errors
    /// Whatever kept it from finishing.
    pub(crate) fn perform(self, tally: &mut Tally) -> Result<(), Trouble> {
        let Self { part, command, log, stage, sink, progress } = self;
        for topic in &part.header.topics {
            tally.add_topic(&topic.name, topic.partitions, topic.deliverable);
        }
        let mut course = Course {
            part,
            sink,
            progress,
            tally,
            faults: FaultSchedule::new(&part.scenario.faults),
            deadline: Duration::from_secs_f64(part.scenario.stop.deadline_s),
            progressed: None,
            checked: Instant::now(),
        };
        course.enter(Phase::Fill, "filling");
        let mut crew = Crew::new(Recipe { part, command, log, sink }, stage);
        if part.scenario.earlier_life.is_some() {
            course.expect(&stage.fill(Origin::Before)?);
            course.progress.phase("earlier life");
            crew.start(1, Purpose::Prepares)?;
            course.prepare(&mut crew, stage)?;
            course.progress.phase("filling");
        }
        course.expect(&stage.fill(Origin::Backlog)?);
        course.faults.before_start(stage, sink)?;
        course.enter(Phase::Join, "joining");
        for instance in 1..=part.scenario.consumer.instances {
            crew.start(instance, Purpose::Measured)?;
        }
        let result = course.measure(&mut crew, stage);
        let result = match result {
            Ok(()) => course.finish(&mut crew),
            Err(Trouble::Deadline(missing)) => {
                // Late is not broken: what it committed on the way out is still worth judging.
                // Its failure to stop would hide the reason.
                let _ = stage.stop_live();
                let _ = course.finish(&mut crew);
                Err(Trouble::Deadline(missing))
            }
            Err(trouble) => {
                drop(crew);
                Err(trouble)
            }
        };
        if matches!(result, Ok(()) | Err(Trouble::Deadline(_))) {
            course.faults.end_all(stage, sink)?;
            course.progress.phase("reading offsets");
            for offsets in stage.offsets(&|topic| part.group_of(topic))? {
                sink.emit(offsets);
            }
        }
        result
    }
}

/// How the log names the end of a run.
pub(crate) fn outcome(result: &Result<(), Trouble>) -> Outcome {
    match result {
        Ok(()) => Outcome::Finished,
        Err(Trouble::Deadline(_)) => Outcome::Deadline,
        Err(Trouble::Interrupted) => Outcome::Interrupted,
        Err(Trouble::Failed { what, .. }) => Outcome::Failed { what: what.clone() },
    }
}

struct Course<'a> {
    part: &'a Part<'a>,
    sink: &'a EventSink,
    progress: &'a mut RunProgress,
    tally: &'a mut Tally,
    faults: FaultSchedule<'a>,
    deadline: Duration,
    /// What was delivered when something came last, and when that was; from live production on.
    progressed: Option<(u64, Instant)>,
    checked: Instant,
}

impl Course<'_> {
    fn enter(&mut self, phase: Phase, words: &str) {
        self.sink.emit(Body::Phase { phase });
        self.progress.phase(words);
    }

    fn expect(&mut self, targets: &[Target]) {
        for Target { topic, partition, offset } in targets {
            self.tally.expect(topic, *partition, *offset);
        }
        self.progress.records(self.tally.records());
    }

    fn prepare(&mut self, crew: &mut Crew<'_>, stage: &mut dyn Stage) -> Result<(), Trouble> {
        let began = Instant::now();
        while !self.tally.all_delivered() {
            self.step(crew, stage, began)?;
        }
        crew.finish(self.tally)
    }

    fn measure(&mut self, crew: &mut Crew<'_>, stage: &mut dyn Stage) -> Result<(), Trouble> {
        let began = Instant::now();
        let (before, _) = self.tally.records();
        while !self.tally.all_assigned() {
            self.step(crew, stage, began)?;
        }
        // A live record may not wait for what only happens at a start: offsets are looked up and
        // first fetches awaited between the assignment and the first batch.
        while !self.tally.all_delivered() && self.tally.records().0 == before {
            self.step(crew, stage, began)?;
        }
        self.enter(Phase::Disturb, "delivering");
        stage.start_live()?;
        let live_since = Instant::now();
        self.progressed = Some((self.tally.records().0, live_since));
        let live_for = Duration::from_secs_f64(self.part.scenario.stop.live_for_s);
        // Only the backlog is expected so far: live records count once production has stopped.
        while !(self.tally.all_delivered() && live_since.elapsed() >= live_for && self.faults.is_through()) {
            self.faults.advance(live_since.elapsed(), (stage, crew), self.tally, self.sink)?;
            self.step(crew, stage, began)?;
        }
        let targets = stage.stop_live()?;
        self.expect(&targets);
        self.enter(Phase::Drain, "draining");
        while !self.tally.all_delivered() {
            self.step(crew, stage, began)?;
        }
        Ok(())
    }

    fn finish(&mut self, crew: &mut Crew<'_>) -> Result<(), Trouble> {
        self.progress.records(self.tally.records());
        self.enter(Phase::Stop, "stopping");
        crew.finish(self.tally)
    }

    fn step(&mut self, crew: &mut Crew<'_>, stage: &mut dyn Stage, began: Instant) -> Result<(), Trouble> {
        crew.listen(self.tally)?;
        self.converges()?;
        if began.elapsed() > self.deadline {
            return Err(Trouble::Deadline(format!(
                "{}: the deadline of {} s (stop.deadline_s) passed; {}",
                self.part.describe(),
                self.deadline.as_secs_f64(),
                self.tally.missing()
            )));
        }
        if self.checked.elapsed() > CHECK_EVERY {
            self.checked = Instant::now();
            stage.check()?;
        }
        if self.progress.is_due() {
            self.progress.records(self.tally.records());
        }
        Ok(())
    }

    /// Fails where nothing has been delivered for `stop.stall_s` though no fault is on.
    fn converges(&mut self) -> Result<(), Trouble> {
        let Some((before, since)) = &mut self.progressed else { return Ok(()) };
        let (delivered, _) = self.tally.records();
        if delivered != *before || !self.faults.is_through() || self.tally.all_delivered() {
            (*before, *since) = (delivered, Instant::now());
            return Ok(());
        }
        let limit = self.part.scenario.stop.stall_s;
        if since.elapsed().as_secs_f64() <= limit {
            return Ok(());
        }
        Err(Trouble::Deadline(format!(
            "{}: nothing was delivered for {limit} s (stop.stall_s) though no fault was on; {}",
            self.part.describe(),
            self.tally.missing()
        )))
    }
}
