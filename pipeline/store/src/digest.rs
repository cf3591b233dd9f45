//! BLAKE3 digests and the addresses made of them.
//!
//! A file's digest is the plain BLAKE3 of its bytes, so that `b3sum` can check it. Keys and
//! trees use BLAKE3's key-derivation mode with a context each: a key can never be taken for
//! a tree, nor a tree for a file.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{fmt, io::Read as _, path::Path, str::FromStr};

const KEY_CONTEXT: &str = "iota 2026-11 stage key v1";
const TREE_CONTEXT: &str = "iota 2026-11 tree v1";

/// A BLAKE3-256 digest; prints as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The first 12 hexadecimal digits: enough for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }

    pub(crate) fn tree(manifest: &[u8]) -> Self {
        Self(blake3::derive_key(TREE_CONTEXT, manifest))
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        blake3::Hash::from_hex(text)
            .map(Into::into)
            .map_err(|_| Error::Address(text.to_owned()))
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// The digest of a key document's canonical bytes.
pub fn key_digest(canonical: &[u8]) -> Digest {
    Digest(blake3::derive_key(KEY_CONTEXT, canonical))
}

/// The digest of some bytes.
pub fn hash_bytes(bytes: &[u8]) -> Digest {
    blake3::hash(bytes).into()
}

/// The digest of a file's bytes, and their number.
pub fn hash_file(path: &Path) -> Result<(Digest, u64)> {
    /// Bytes that all cores hash together.
    const PIECE_BYTES: usize = 4 << 20;
    let mut file = fs_err::File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut hasher = blake3::Hasher::new();
    // Below this size threads cost more than they save.
    if bytes < 1 << 20 {
        hasher.update_reader(file)?;
    } else {
        // Read, not mapped: a mapped file counts as this process's memory, and one that becomes
        // shorter meanwhile would end it.
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        while (&mut file)
            .take(PIECE_BYTES as u64)
            .read_to_end(&mut piece)?
            > 0
        {
            hasher.update_rayon(&piece);
            piece.clear();
        }
    }
    Ok((hasher.finalize().into(), bytes))
}

/// Where an artifact lies: a file (`b3:…`) or a directory (`b3t:…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// A file, by the digest of its bytes.
    Object(Digest),
    /// A directory, by the digest of its manifest.
    Tree(Digest),
}

impl Address {
    /// The digest without its kind.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Object(digest) | Self::Tree(digest) => *digest,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(digest) => write!(f, "b3:{digest}"),
            Self::Tree(digest) => write!(f, "b3t:{digest}"),
        }
    }
}

impl FromStr for Address {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if let Some(hex) = text.strip_prefix("b3:") {
            Ok(Self::Object(hex.parse()?))
        } else if let Some(hex) = text.strip_prefix("b3t:") {
            Ok(Self::Tree(hex.parse()?))
        } else {
            Err(Error::Address(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Address {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}
