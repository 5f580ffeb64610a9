//! Stands in for containers in a build without the feature `containers`.

use std::collections::BTreeMap;
use std::convert::Infallible;

use fairpoll_judge::manifest::BrokerFacts;

use super::admin::Admin;
use super::{BrokerError, ClusterNeeds, TopicSpec};
use crate::exit_code::ExitCode;

/// Lends nothing.
#[derive(Debug)]
pub struct Containers;

/// There is none.
#[derive(Debug)]
pub struct Container(Infallible);

impl Containers {
    /// Whatever is asked for.
    #[must_use]
    pub fn new(_image: Option<String>, _keep: bool) -> Self {
        Self
    }

    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn lend(
        &mut self,
        _needs: ClusterNeeds,
        _properties: &BTreeMap<String, String>,
    ) -> Result<Container, BrokerError> {
        Err(BrokerError::Unsupported(
            "this fairpoll was built without containers; build it with `--features containers`".to_owned(),
        ))
    }

    /// Nothing is kept.
    #[must_use]
    pub fn farewell(&self) -> Option<String> {
        None
    }
}

impl Container {
    pub(super) fn admin(&self) -> &Admin {
        match self.0 {}
    }

    pub(super) fn admin_mut(&mut self) -> &mut Admin {
        match self.0 {}
    }

    pub(super) fn facts(&self) -> BrokerFacts {
        match self.0 {}
    }

    pub(super) fn create_topics(&mut self, _: &[TopicSpec]) -> Result<(), BrokerError> {
        match self.0 {}
    }

    pub(super) fn is_alive(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn stop_node(&self, _: u32) -> Result<(), BrokerError> {
        match self.0 {}
    }

    pub(super) fn start_node(&self, _: u32) -> Result<(), BrokerError> {
        match self.0 {}
    }

    pub(super) fn slow_down(&self, _: Option<u32>, _: u32) -> Result<(), BrokerError> {
        match self.0 {}
    }
}

/// There is nothing to remove.
#[must_use]
pub fn reap(_: &str) -> ExitCode {
    ExitCode::Pass
}
