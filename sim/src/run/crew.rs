//! The consumer of a run: one process, or several instances in one group, and what faults do to
//! them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::life::{Life, Presence, Purpose, SLICE, Trouble, Who};
use super::spec::Part;
use super::stage::{Access, Stage};
use super::tally::Tally;
use crate::event_log::EventSink;
use crate::exit_code::ExitCode;
use crate::scenario::{Fault, FaultKind};

/// What is needed to start a process of the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe<'a> {
    /// Which run of which mode.
    pub(crate) part: &'a Part<'a>,
    /// The program and its arguments.
    pub(crate) command: &'a [String],
    /// Receives the standard error of the first instance; the others' stand beside it.
    pub(crate) log: &'a Path,
    /// Receives the events.
    pub(crate) sink: &'a EventSink,
}

/// The processes of a run's consumer.
///
/// [`Crew::start`] for each instance, [`Crew::listen`] again and again, [`Crew::fault`] on
/// schedule, [`Crew::finish`] at the end; then it may start anew. Dropped before that, it stops everybody with little
/// patience.
#[derive(Debug)]
pub(crate) struct Crew<'a> {
    recipe: Recipe<'a>,
    access: Access,
    broker_ports: BTreeSet<u16>,
    lives: Vec<Life<'a>>,
    frozen: BTreeSet<u32>,
    /// Processes started so far.
    started: u32,
}

impl<'a> Crew<'a> {
    /// Nobody is there yet.
    pub(crate) fn new(recipe: Recipe<'a>, stage: &dyn Stage) -> Self {
        Self {
            recipe,
            access: stage.access(),
            broker_ports: stage.broker_ports(),
            lives: Vec::new(),
            frozen: BTreeSet::new(),
            started: 0,
        }
    }

    /// Starts a process for an instance, from 1, and tells its number among the run's processes.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(&mut self, instance: u32, purpose: Purpose) -> Result<u32, Trouble> {
        let Recipe { part, command, log, sink } = self.recipe;
        let log = log_of(log, instance);
        let life = self.started + 1;
        let who = Who { life, instance, purpose };
        let ours;
        let command = if part.joiner(instance).is_some() {
            ours = our_worker()?;
            &ours
        } else {
            command
        };
        let access = (self.access.clone(), &self.broker_ports);
        self.lives.push(Life::start(part, command, &log, access, sink, who)?);
        self.started = life;
        Ok(life)
    }

    /// Writes down what everybody says for a moment (some ms).
    ///
    /// # Errors
    /// If somebody says something wrong, ends unasked, or somebody presses Ctrl-C.
    pub(crate) fn listen(&mut self, tally: &mut Tally) -> Result<(), Trouble> {
        let Ok(count @ 1..) = u32::try_from(self.lives.len()) else {
            // All were killed; the next one comes on schedule.
            std::thread::sleep(SLICE);
            return Ok(());
        };
        let mut gone = Vec::new();
        for life in &mut self.lives {
            if life.listen(tally, SLICE / count)? == Presence::Gone {
                gone.push(life.who().life);
            }
        }
        for number in gone {
            tally.gone(number);
            self.lives.retain(|life| life.who().life != number);
        }
        Ok(())
    }

    /// Begins or ends a fault of the consumer's own, and tells which process it concerns. The end
    /// of a kill or a departure is the instance's return. `instance` is the one that the fault's
    /// beginning concerned.
    ///
    /// # Errors
    /// If the instance is not there, or cannot be started.
    pub(crate) fn fault(
        &mut self,
        fault: &Fault,
        instance: Option<u32>,
        begins: bool,
        tally: &mut Tally,
    ) -> Result<Who, Trouble> {
        let instance = instance.or(fault.instance).unwrap_or(1);
        match (fault.kind, begins) {
            (FaultKind::ConsumerKilled, true) => {
                let life = self.lives.remove(self.position(fault, instance)?);
                let who = life.who();
                self.frozen.remove(&instance);
                life.kill(tally)?;
                tally.gone(who.life);
                Ok(who)
            }
            (FaultKind::ConsumerFrozen, _) => {
                let at = self.position(fault, instance)?;
                self.lives[at].freeze(begins);
                if begins {
                    self.frozen.insert(instance)
                } else {
                    self.frozen.remove(&instance)
                };
                Ok(self.lives[at].who())
            }
            (FaultKind::DescriptorsLimited, _) => {
                let at = self.position(fault, instance)?;
                self.lives[at].limit_descriptors(begins)?;
                Ok(self.lives[at].who())
            }
            (FaultKind::InstanceLeaves, true) | (FaultKind::InstanceJoins, false) => {
                let at = self.position(fault, instance)?;
                self.lives[at].ask_to_stop();
                Ok(self.lives[at].who())
            }
            (FaultKind::InstanceJoins, true) => {
                let next = self.lives.iter().map(|life| life.who().instance).max().unwrap_or(0) + 1;
                self.restart(next.max(self.recipe.part.scenario.consumer.instances + 1))
            }
            (_, _) => self.restart(instance),
        }
    }

    /// Asks everybody to stop and waits until they are gone.
    ///
    /// # Errors
    /// If one does not commit, say goodbye and exit with 0 in time.
    pub(crate) fn finish(&mut self, tally: &mut Tally) -> Result<(), Trouble> {
        for life in &mut self.lives {
            if self.frozen.remove(&life.who().instance) {
                life.freeze(false);
            }
            life.ask_to_stop();
        }
        while !self.lives.is_empty() {
            self.listen(tally)?;
        }
        Ok(())
    }

    fn restart(&mut self, instance: u32) -> Result<Who, Trouble> {
        let life = self.start(instance, Purpose::Measured)?;
        Ok(Who { life, instance, purpose: Purpose::Measured })
    }

    fn position(&self, fault: &Fault, instance: u32) -> Result<usize, Trouble> {
        self.lives.iter().position(|life| life.who().instance == instance).ok_or_else(|| Trouble::Failed {
            what: format!(
                "the fault {} at {} ms concerns instance {instance}, which is not running then",
                fault.kind.name(),
                fault.at_ms
            ),
            exit: ExitCode::Usage,
        })
    }
}

/// The command that starts Fairpoll's own worker.
///
/// # Errors
/// If this program cannot be found any more.
pub(crate) fn our_worker() -> Result<Vec<String>, Trouble> {
    match std::env::current_exe() {
        Ok(program) => Ok(vec![program.to_string_lossy().into_owned(), "worker".to_owned()]),
        Err(error) => Err(Trouble::Failed {
            what: format!("cannot find our own program to start it as a worker: {error}"),
            exit: ExitCode::Internal,
        }),
    }
}

fn log_of(first: &Path, instance: u32) -> PathBuf {
    if instance == 1 {
        return first.to_owned();
    }
    let stem = first.file_stem().unwrap_or_default().to_string_lossy();
    first.with_file_name(format!("{stem}-instance-{instance}.log"))
}
