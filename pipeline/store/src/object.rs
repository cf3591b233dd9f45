//! Publishing: from a file or directory a stage has written to objects in the store.
//!
//! Called by `engine::run` between a stage's end and its commit. Order: hash, fsync the
//! file, rename it into `objects/`, fsync the directory. An object that is there already
//! is kept if its length is right (same hash, same bytes) and replaced if it is not.

use crate::{
    Address, Digest, Entry, Manifest, Result, Store,
    disk::{relative, remove, symlink, sync_dir, sync_file, unique, write_atomic},
    fault, hash_file, tree,
};
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

impl Store {
    /// Moves a file into the store; returns its digest and length.
    pub fn publish_file(&self, path: &Path) -> Result<(Digest, u64)> {
        let is_link = fs_err::symlink_metadata(path)?.is_symlink();
        let (digest, bytes) = hash_file(path)?;
        fault::point("publish.object.hashed");
        let target = self.object_path(digest);
        if std::fs::metadata(&target).is_ok_and(|meta| meta.len() == bytes) {
            remove(path)?;
            return Ok((digest, bytes));
        }
        // A link to somebody else's file is copied: only our own file may be moved.
        let staged = if is_link {
            let staged = self.tmp().join(format!("object-{}", unique()));
            fs_err::copy(path, &staged)?;
            remove(path)?;
            staged
        } else {
            path.to_path_buf()
        };
        fs_err::set_permissions(&staged, std::fs::Permissions::from_mode(0o444))?;
        sync_file(&staged)?;
        fault::point("publish.object.synced");
        let parent = target.parent().expect("objects lie in a directory");
        fs_err::create_dir_all(parent)?;
        fs_err::rename(&staged, &target)?;
        sync_dir(parent)?;
        fault::point("publish.object.renamed");
        Ok((digest, bytes))
    }

    /// Moves a directory's files into the store; returns the address of their manifest and
    /// the sum of their lengths.
    pub fn publish_tree(&self, root: &Path) -> Result<(Digest, u64)> {
        let mut entries = Vec::new();
        for (path, full) in tree::files_below(root)? {
            let (b3, bytes) = self.publish_file(&full)?;
            entries.push(Entry { path, b3, bytes });
        }
        let manifest = Manifest::new(entries);
        let digest = manifest.digest();
        let path = self.manifest_path(digest);
        if !path.exists() {
            write_atomic(&path, &manifest.to_bytes(), &self.tmp(), || {})?;
        }
        fault::point("publish.manifest.renamed");
        Ok((digest, manifest.bytes()))
    }

    /// The path at which an artifact can be read: an object's file, or a directory of
    /// links that is made on first use.
    pub fn checkout(&self, address: Address) -> Result<PathBuf> {
        let digest = match address {
            Address::Object(digest) => return Ok(self.object_path(digest)),
            Address::Tree(digest) => digest,
        };
        let target = self.sharded("checkouts", digest, "");
        if target.is_dir() {
            return Ok(target);
        }
        let manifest = self.manifest(digest)?;
        let staging = self.tmp().join(format!("checkout-{}", unique()));
        fs_err::create_dir_all(&staging)?;
        for entry in &manifest.entries {
            let link = target.join(&entry.path);
            let directory = link.parent().expect("below the checkout");
            let to = relative(directory, &self.object_path(entry.b3));
            symlink(&to, &staging.join(&entry.path), &self.tmp())?;
        }
        fs_err::create_dir_all(target.parent().expect("below checkouts"))?;
        match fs_err::rename(&staging, &target) {
            Ok(()) => Ok(target),
            // Somebody else was faster; equal manifests make equal checkouts.
            Err(_) if target.is_dir() => {
                remove(&staging)?;
                Ok(target)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The address of a file or directory outside the store, without taking it in.
    pub fn address_of(&self, path: &Path, index: &mut crate::StatIndex) -> Result<Address> {
        if !fs_err::metadata(path)?.is_dir() {
            return Ok(Address::Object(index.hash(path)?.0));
        }
        let mut entries = Vec::new();
        for (name, full) in tree::files_below(path)? {
            let (b3, bytes) = index.hash(&full)?;
            entries.push(Entry {
                path: name,
                b3,
                bytes,
            });
        }
        Ok(Address::Tree(Manifest::new(entries).digest()))
    }
}
