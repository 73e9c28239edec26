//! What files of views, and answers about them, say of their origin: numbers of views alone say nothing of how they are drawn.

use super::view::VERSION;
use super::{TrainLoader, ViewPolicy};
use crate::error::{Error, Result};
use std::collections::HashMap;

/// Where views come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewStamp {
    /// The data's fingerprint.
    data: String,
    /// How views are drawn, as JSON; how many are in a bank does not enter, as it changes none of them.
    policy: String,
}

impl ViewStamp {
    /// Of the views of a loader that shows the student its data.
    ///
    /// # Errors
    /// Where an image cannot be read.
    pub fn of(loader: &TrainLoader) -> Result<Self> {
        let policy = ViewPolicy { bank: 0, ..loader.policy().clone() };
        let policy = serde_json::to_string(&(VERSION, policy))
            .map_err(|error| Error::Run(format!("data.views cannot be written: {error}")))?;
        Ok(Self { data: loader.fingerprint()?.to_owned(), policy })
    }

    /// As a file's metadata have it; none where they say nothing.
    pub fn read(metadata: &HashMap<String, String>) -> Option<Self> {
        let of = |key: &str| metadata.get(key).cloned();
        Some(Self { data: of("data")?, policy: of("policy")? })
    }

    /// As metadata.
    pub fn entries(&self) -> [(&'static str, &String); 2] {
        [("data", &self.data), ("policy", &self.policy)]
    }

    /// What differs, where something does.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        match (self.data == other.data, self.policy == other.policy) {
            (false, _) => Some("data"),
            (_, false) => Some("views (data.views)"),
            _ => None,
        }
    }
}
