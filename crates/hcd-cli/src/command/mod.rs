//! The sub-commands, one a file.

pub mod cache_teacher;
pub mod compare;
pub mod data;
pub mod demo;
pub mod distill;
pub mod evaluate;
pub mod export;
pub mod features;
pub mod methods;
pub mod models;
pub mod predict;
pub mod recipe;
pub mod report;
pub mod train;
pub mod views;
