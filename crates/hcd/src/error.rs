//! Errors: one line each, saying who, what was expected, what came, and where.

use std::path::PathBuf;

/// What can go wrong, and whom to tell.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A recipe, flag or option that cannot be meant.
    #[error("{0}")]
    Recipe(String),
    /// A data set that is missing, damaged or unlike its description.
    #[error("{0}")]
    Data(String),
    /// An image that is damaged or of no known kind; the others of its set may do without it.
    #[error("{0}")]
    Image(String),
    /// Weights that are damaged or do not fit.
    #[error("{0}")]
    Weights(String),
    /// A run folder that cannot be used or continued.
    #[error("{0}")]
    Run(String),
    /// A training whose loss or weights are no numbers any more.
    #[error("{0}")]
    Diverged(String),
    /// A file that cannot be read or written.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// read, write, create, …
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether it is of a single image, which can be left out.
    pub fn is_of_image(&self) -> bool {
        matches!(self, Self::Image(_) | Self::Io { .. })
    }
}

/// Result with this library's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
