//! Pages of keys and values, and the pool that bounds how many there are.
//!
//! Used by `cache` and `worker`. A page has the keys and values of [`PAGE`] positions of one
//! sequence, of all layers and heads: per layer and head first the keys `[D][PAGE]`, so that one
//! query meets many keys in one vector instruction, then the values `[PAGE][D]`; in bfloat16 unless
//! the decoder keeps everything in f32. Sequences share
//! pages by reference count; the pool gets a page back when the last of them lets it go.

use std::sync::{Arc, Mutex};

#[cfg(feature = "device")]
use super::device::Session;
use super::linear::Form;
use super::numbers::Numbers;
use crate::config::Config;

/// Positions of a page; a device's have as many.
pub(super) const PAGE: usize = 32;
#[cfg(feature = "device")]
const _: () = assert!(PAGE == gpu::ops::paged::PAGE);

/// Keys and values of some positions; contents are whatever was there before.
pub(super) struct Page {
    pub(super) data: Numbers,
    pool: Arc<Pool>,
}

impl Drop for Page {
    fn drop(&mut self) {
        let data = std::mem::replace(&mut self.data, Numbers::zeros(false, 0));
        self.pool.state().free.push(data);
    }
}

/// All pages of a run.
pub(super) struct Pool {
    brief: bool,
    page_numbers: usize,
    limit: usize,
    state: Mutex<State>,
    /// Where the numbers are, if not here.
    #[cfg(feature = "device")]
    device: Option<Session>,
}

#[derive(Default)]
struct State {
    free: Vec<Numbers>,
    made: usize,
}

impl Pool {
    /// A pool of at most `bytes`, and of one page at least.
    pub(super) fn new(config: &Config, form: Form, bytes: usize) -> Arc<Self> {
        let page_numbers = 2 * config.layers * config.kv_width() * PAGE;
        let brief = form != Form::F32;
        Arc::new(Self {
            brief,
            page_numbers,
            limit: (bytes / (page_numbers * number_bytes(brief))).max(1),
            state: Mutex::default(),
            #[cfg(feature = "device")]
            device: None,
        })
    }

    /// A pool of pages on a device, of at most so many.
    #[cfg(feature = "device")]
    pub(super) fn on_device(config: &Config, session: Session, limit: usize) -> Arc<Self> {
        Arc::new(Self {
            brief: session.is_bf16(),
            page_numbers: 2 * config.layers * config.kv_width() * PAGE,
            limit,
            state: Mutex::default(),
            device: Some(session),
        })
    }

    /// What decodes on a device, if the pages are there.
    #[cfg(feature = "device")]
    pub(super) fn session(&self) -> Option<&Session> {
        self.device.as_ref()
    }

    /// The numbers of the page that is made next, after so many.
    fn fresh(&self, #[cfg_attr(not(feature = "device"), allow(unused))] made: usize) -> Numbers {
        #[cfg(feature = "device")]
        if let Some(session) = &self.device {
            let there = if session.has_page(made) {
                Ok(())
            } else {
                Err(anyhow::anyhow!(
                    "there is no room for the keys and values of waiting sequences: raise cache_mb"
                ))
            };
            crate::device::demand(there);
            return Numbers::Elsewhere(made as u32);
        }
        Numbers::zeros(self.brief, self.page_numbers)
    }

    /// Copies a page's numbers to one that was just taken.
    #[cfg_attr(not(feature = "device"), allow(clippy::unused_self))]
    pub(super) fn copy(&self, to: &mut Page, from: &Page) {
        #[cfg(feature = "device")]
        if let (Some(session), Numbers::Elsewhere(to), Numbers::Elsewhere(from)) =
            (&self.device, &to.data, &from.data)
        {
            return session.copy_page(*to, *from);
        }
        to.data.copy_from(&from.data);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with the pool")
    }

    /// A page, or nothing if there are as many as may be; `beyond` the limit there is always one.
    pub(super) fn take(self: &Arc<Self>, beyond: bool) -> Option<Page> {
        let mut state = self.state();
        let data = match state.free.pop() {
            Some(data) => data,
            None if beyond || state.made < self.limit => {
                state.made += 1;
                self.fresh(state.made - 1)
            }
            None => return None,
        };
        Some(Page {
            data,
            pool: Arc::clone(self),
        })
    }

    /// Pages that can be taken without going beyond the limit.
    pub(super) fn left(&self) -> usize {
        let state = self.state();
        self.limit.saturating_sub(state.made) + state.free.len()
    }

    /// Most bytes that were in use at a time.
    pub(super) fn peak_bytes(&self) -> usize {
        self.state().made * self.page_numbers * number_bytes(self.brief)
    }
}

fn number_bytes(brief: bool) -> usize {
    if brief { 2 } else { 4 }
}
