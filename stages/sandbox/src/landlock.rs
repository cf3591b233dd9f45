//! The Landlock ruleset of a judged program: which files it may reach at all.
//!
//! Made once per container, best effort: an old kernel keeps what it knows of it. It
//! doubles the mount namespace and, beyond it, closes TCP ports, abstract sockets and
//! signals to processes outside where the kernel can.

use std::{os::fd::OwnedFd, path::Path};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};

/// The newest version this code was written for.
const KNOWN: ABI = ABI::V6;

/// A ruleset allowing to read and run what lies under `readable` and to do anything
/// under `writable`; `devices` may be read and written. `None` without Landlock.
pub(crate) fn ruleset(
    readable: &[String],
    writable: &[&Path],
    devices: &[&str],
) -> Result<Option<OwnedFd>, RulesetError> {
    let device_access = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir;
    let created = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .add_rules(path_beneath_rules(readable, AccessFs::from_read(KNOWN)))?
        .add_rules(path_beneath_rules(writable, AccessFs::from_all(KNOWN)))?
        .add_rules(path_beneath_rules(devices, device_access))?;
    Ok(created.into())
}
