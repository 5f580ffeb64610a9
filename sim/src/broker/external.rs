//! A cluster of the user's.

use std::collections::BTreeMap;

use fairpoll_judge::manifest::BrokerFacts;

use super::admin::{Admin, REACH_WITHIN};
use super::{BrokerError, Endpoint};

/// A cluster that somebody else runs. Dropped, it removes the topics that were created through it.
#[derive(Debug)]
pub struct External {
    admin: Admin,
    nodes: u32,
}

impl External {
    pub(super) fn connect(servers: &str, properties: &BTreeMap<String, String>) -> Result<Self, BrokerError> {
        let endpoint = Endpoint {
            bootstrap_servers: servers.to_owned(),
            properties: properties.clone(),
            imposed: BTreeMap::new(),
        };
        // How many replicas a topic of somebody's cluster can have, only its operator knows.
        let admin = Admin::new(endpoint, 1);
        let nodes = admin.nodes(REACH_WITHIN)?;
        Ok(Self { admin, nodes })
    }

    pub(super) fn admin(&self) -> &Admin {
        &self.admin
    }

    pub(super) fn admin_mut(&mut self) -> &mut Admin {
        &mut self.admin
    }

    pub(super) fn facts(&self) -> BrokerFacts {
        BrokerFacts {
            kind: "external".to_owned(),
            version: None,
            image: None,
            nodes: self.nodes,
            imposed_properties: BTreeMap::new(),
            properties: self.admin.endpoint().properties.clone(),
        }
    }
}
