//! A content-addressed store of artifacts: files by the hash of their bytes, directories
//! by the hash of their manifest, and one trace per stage key that says what came out.
//!
//! Used by `engine` (which decides what to run) and by the binaries (which look). It knows
//! nothing about stages, models or tables: only bytes, names and hashes.
//!
//! Promise: a trace exists only if every object it names was on disk, whole and synced,
//! before it. A process killed at any instant leaves either no trace or a complete one;
//! what it leaves besides is garbage that [`Store::gc`] removes, never a lie.

mod digest;
mod disk;
mod error;
mod fault;
mod gc;
mod lock;
mod object;
mod partial;
mod refs;
mod stat;
mod store;
mod trace;
mod tree;
mod verify;

pub use digest::{Address, Digest, hash_bytes, hash_file, key_digest};
pub use error::{Error, Result};
pub use fault::{POINTS as FAULT_POINTS, point as fault_point};
pub use gc::{GcOptions, GcReport};
pub use lock::{Holder, KeyLock, StoreLock};
pub use partial::{Checkpoint, Partial};
pub use stat::StatIndex;
pub use store::Store;
pub use trace::{OutputRecord, Trace};
pub use tree::{Entry, Manifest};
pub use verify::{Finding, VerifyReport};
