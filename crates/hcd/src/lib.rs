//! Knowledge distillation between unlike architectures.
#![forbid(unsafe_code)]

pub mod data;
pub mod error;
pub mod files;
pub mod hcd;
pub mod losses;
pub mod methods;
pub mod models;
pub mod rng;
pub mod teacher;

pub use error::{Error, Result};
