//! Knowledge distillation between unlike architectures.
#![forbid(unsafe_code)]

pub mod config;
pub mod data;
pub mod error;
pub mod eval;
pub mod export;
pub mod files;
pub mod hcd;
pub mod losses;
pub mod methods;
pub mod models;
pub mod ops;
pub mod report;
pub mod rng;
pub mod teacher;
pub mod train;

pub use burn;
pub use error::{Error, Result};
