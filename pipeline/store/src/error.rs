//! What can go wrong in the store, in the form callers branch on.
//! Every message names the path and the way out; `engine` and the binaries wrap it.

use crate::{Address, Digest};
use std::path::PathBuf;

/// The store's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed; `fs_err` has put the path into the message.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The directory holds a store of another format.
    #[error(
        "`{path}` is a store of format `{found}`, this program reads `{wanted}`\n  help: use the program that wrote it, or another --artifacts directory"
    )]
    Format {
        /// The FORMAT file.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What this program writes.
        wanted: &'static str,
    },
    /// A trace, manifest or index could not be read.
    #[error(
        "`{path}` is damaged: {source}\n  help: `iota verify --repair` drops damaged records so that their stages run again"
    )]
    Record {
        /// The damaged file.
        path: PathBuf,
        /// What the JSON reader says.
        source: serde_json::Error,
    },
    /// An object that a trace names is not in the store.
    #[error(
        "object {0} is missing from the store\n  help: `iota verify --repair` drops the traces that name it, then run again"
    )]
    Missing(Address),
    /// An object's bytes are not those it is named after.
    #[error(
        "object {wanted} is corrupt: its bytes hash to {found}\n  help: `iota verify --repair` removes it and the traces that name it, then run again"
    )]
    Corrupt {
        /// The name.
        wanted: Digest,
        /// The hash of what is there.
        found: Digest,
    },
    /// A text is not an address.
    #[error("`{0}` is not an address; addresses look like b3:<64 hex> or b3t:<64 hex>")]
    Address(String),
    /// A tree holds something that is neither a file nor a directory.
    #[error("`{0}` is neither a file nor a directory; an artifact holds only these")]
    Special(PathBuf),
    /// A path is not UTF-8.
    #[error("`{}` has a name that is not UTF-8; rename it", .0.display())]
    Name(PathBuf),
    /// A name cannot be used in the store.
    #[error("`{0}` is no name for a {1}: use a-z, 0-9, `-`, `_` and `.`")]
    BadName(String, &'static str),
}
