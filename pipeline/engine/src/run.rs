//! Running a recipe: for each node look up, else lock, run, check, publish, commit, link.
//!
//! Called by the binary. The order of writes is the promise: objects before the trace, the
//! trace before the links, so that a crash anywhere leaves what was there before or all of
//! what is new. A lock is waited for, and after waiting the store is asked again: somebody
//! else may just have made what is wanted.

use crate::{
    BoundInput, Ctx, Error, Interrupted, Node, Recipe, Registry,
    event::{Event, Sink},
    fingerprint::changed,
    key::{Key, key},
    output,
    plan::{Origin, Resolved, State, look_up, resolve},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};
use store::{Address, OutputRecord, StatIndex, Store, Trace, fault_point};

/// How to run.
pub struct Options<'a> {
    /// Nodes to run again even if the store has them.
    pub force: BTreeSet<String>,
    /// A hit made by other source text counts as a miss.
    pub strict: bool,
    /// Go on with nodes that do not depend on a failed one.
    pub keep_going: bool,
    /// Whether another process runs the same nodes over the same store and keeps the results:
    /// stages that can be run together are run along here, the others are waited for or made.
    pub follows: bool,
    /// Who listens.
    pub sink: &'a dyn Sink,
    /// Set to stop at the next checkpoint.
    pub cancel: &'a AtomicBool,
    /// The program's version, for the trace.
    pub program: String,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Nodes that were in the store.
    pub hits: usize,
    /// Nodes that ran.
    pub ran: usize,
    /// The trace of every node.
    pub traces: BTreeMap<String, Trace>,
}

struct Runner<'a> {
    recipe: &'a Recipe,
    store: &'a Store,
    registry: &'a Registry,
    options: &'a Options<'a>,
    index: StatIndex,
}

/// Makes everything that `targets` (or the whole recipe) needs.
pub fn run(
    recipe: &Recipe,
    targets: &[String],
    store: &Store,
    registry: &Registry,
    options: &Options<'_>,
) -> Result<Summary, Error> {
    let _lock = store.lock_shared()?;
    let nodes = recipe.needed(targets)?;
    let mut runner = Runner {
        recipe,
        store,
        registry,
        options,
        index: store.stat_index(),
    };
    let mut summary = Summary::default();
    let mut made: BTreeMap<&str, Trace> = BTreeMap::new();
    let mut failed = Vec::new();
    for node in nodes {
        if options.cancel.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let outcome = match resolve(node, &made, store, &mut runner.index) {
            // Behind a failed node.
            Ok(None) => continue,
            Ok(Some(resolved)) => runner.node(node, &resolved),
            Err(error) => Err(error),
        };
        match outcome {
            Ok((trace, is_hit)) => {
                if is_hit {
                    summary.hits += 1;
                } else {
                    summary.ran += 1;
                }
                made.insert(&node.name, trace);
            }
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) if options.keep_going => {
                let message = chain(&error);
                options.sink.event(Event::Failed {
                    node: node.name.clone(),
                    message,
                });
                failed.push(node.name.clone());
            }
            Err(error) => return Err(error),
        }
    }
    runner.index.save()?;
    summary.traces = made
        .into_iter()
        .map(|(name, trace)| (name.to_owned(), trace))
        .collect();
    if summary.ran > 0 {
        let keys = summary
            .traces
            .iter()
            .map(|(name, trace)| (name.clone(), trace.id()))
            .collect();
        store.record_run(&recipe.name, &now().replace(':', "-"), &keys)?;
    }
    if failed.is_empty() {
        Ok(summary)
    } else {
        Err(Error::Failed(failed))
    }
}

impl<'a> Runner<'a> {
    /// Makes one node; says whether the store had it.
    fn node(&mut self, node: &Node, resolved: &Resolved) -> Result<(Trace, bool), Error> {
        let key = key(node, &resolved.addresses);
        let digest = key.digest;
        let mut forced = self.options.force.contains(&node.name);
        if !forced && let Some(trace) = self.hit(node, &key)? {
            // A run killed between its commit and its tidying leaves finished work here.
            let partial = self.store.partial(digest);
            if partial.is_there()
                && let Some(_lock) = self.store.try_lock_key(digest)?
            {
                partial.remove()?;
            }
            return Ok((trace, true));
        }
        let follows = self.options.follows && node.stage.joins;
        if follows {
            self.follow(node, &key, resolved)?;
        }
        let waited = AtomicBool::new(follows);
        let lock = self.store.lock_key(
            digest,
            |holder| {
                waited.store(true, Ordering::Relaxed);
                let holder = holder.map(|holder| holder.to_string());
                self.options.sink.event(Event::Waiting {
                    node: node.name.clone(),
                    holder,
                });
            },
            || self.options.cancel.load(Ordering::Relaxed),
        )?;
        let Some(_lock) = lock else {
            return Err(Error::Interrupted);
        };
        // Whoever held the lock has made what was forced, too.
        forced &= !waited.load(Ordering::Relaxed);
        if !forced && let Some(trace) = self.hit(node, &key)? {
            self.store.partial(digest).remove()?;
            return Ok((trace, true));
        }
        if follows {
            return Err(Error::Stage {
                node: node.name.clone(),
                source: anyhow::anyhow!(
                    "the process that was to keep the result has not: its own output says why"
                ),
            });
        }
        let place = match look_up(key.clone(), node, self.store)? {
            State::Resume(_, place) => Some(place),
            _ => None,
        };
        self.options.sink.event(Event::Started {
            node: node.name.clone(),
            key: digest.short(),
            resume: place,
        });
        // Read first: a node that is forced writes its new trace in the place of the old one.
        let before = self
            .store
            .linked_trace(&self.recipe.name, &node.name)
            .ok()
            .flatten();
        let trace = self.execute(node, key, resolved)?;
        self.store
            .link_refs(&self.recipe.name, &node.name, &trace)?;
        self.store.partial(digest).remove()?;
        self.options.sink.event(Event::Finished {
            node: node.name.clone(),
            key: digest.short(),
            wall_s: trace.wall_s,
            metrics: trace.metrics.clone(),
            unchanged: before.is_some_and(|before| before.outputs == trace.outputs),
        });
        Ok((trace, false))
    }

    fn hit(&self, node: &Node, key: &Key) -> Result<Option<Trace>, Error> {
        let State::Hit(trace) = look_up(key.clone(), node, self.store)? else {
            return Ok(None);
        };
        let files = changed(&trace.code, &self.registry.fingerprint(&node.stage));
        if !files.is_empty() {
            self.options.sink.event(Event::CodeChanged {
                node: node.name.clone(),
                files,
            });
            if self.options.strict {
                return Ok(None);
            }
        }
        self.store
            .link_refs(&self.recipe.name, &node.name, &trace)?;
        let node = node.name.clone();
        self.options.sink.event(Event::Hit {
            node,
            key: key.digest.short(),
        });
        Ok(Some(*trace))
    }

    /// Runs the stage and commits what it made.
    fn execute(&mut self, node: &Node, key: Key, resolved: &Resolved) -> Result<Trace, Error> {
        let started = now();
        let clock = Instant::now();
        let staging = Staging::new(self.store, key.digest)?;
        let log_dir = self
            .store
            .log_dir(&self.recipe.name, &node.name, key.digest);
        let ctx = self.context(node, &key, resolved, &staging, log_dir)?;
        fault_point("stage.started");
        call(node, &ctx)?;
        fault_point("stage.finished");
        self.check_inputs(node, resolved)?;
        let outputs = self.publish(node, &staging.0.join("out"))?;
        let trace = Trace {
            stage: node.stage.name.to_owned(),
            key: key.digest,
            document: key.document,
            outputs,
            metrics: std::mem::take(&mut *ctx.metrics.lock().expect("the stage has ended")),
            parents: parents(resolved),
            code: self.registry.fingerprint(&node.stage),
            platform: std::mem::take(&mut *ctx.platform.lock().expect("the stage has ended")),
            started,
            wall_s: clock.elapsed().as_secs_f64(),
            resumed_from: std::mem::take(
                &mut *ctx.resumed_from.lock().expect("the stage has ended"),
            ),
            program: self.options.program.clone(),
        };
        self.store.commit(&trace)?;
        Ok(trace)
    }

    /// Runs the stage beside the process that keeps its results.
    fn follow(&self, node: &Node, key: &Key, resolved: &Resolved) -> Result<(), Error> {
        let staging = Staging::new(self.store, key.digest)?;
        let log_dir = staging.0.join("log");
        let ctx = self.context(node, key, resolved, &staging, log_dir)?;
        call(node, &ctx)
    }

    /// What the stage sees; its places are made.
    fn context(
        &self,
        node: &Node,
        key: &Key,
        resolved: &Resolved,
        staging: &Staging,
        log_dir: PathBuf,
    ) -> Result<Ctx<'a>, Error> {
        for output in node.stage.outputs {
            if output.kind == crate::Kind::Tree {
                fs_err::create_dir_all(staging.0.join("out").join(output.file_name()))
                    .map_err(store::Error::from)?;
            }
        }
        fs_err::create_dir_all(&log_dir).map_err(store::Error::from)?;
        Ok(Ctx {
            node: node.name.clone(),
            stage: node.stage.name,
            outputs: node.stage.outputs,
            inputs: self.bound(resolved)?,
            staging: staging.0.clone(),
            log_dir,
            seed: node.seed.unwrap_or(0),
            partial: self.store.partial(key.digest),
            follows: self.options.follows && node.stage.joins,
            sink: self.options.sink,
            cancel: self.options.cancel,
            metrics: Mutex::default(),
            platform: Mutex::new(platform()),
            resumed_from: Mutex::default(),
        })
    }

    fn bound(&self, resolved: &Resolved) -> Result<BTreeMap<&'static str, Vec<BoundInput>>, Error> {
        let mut bound = BTreeMap::new();
        for (port, addresses) in &resolved.addresses {
            let mut inputs = Vec::new();
            for (address, origin) in addresses.iter().zip(&resolved.origins[port]) {
                inputs.push(match origin {
                    Origin::Path(path) => BoundInput {
                        path: path.clone(),
                        label: path.display().to_string(),
                    },
                    Origin::Trace { label, .. } => BoundInput {
                        path: self.store.checkout(*address)?,
                        label: label.clone(),
                    },
                });
            }
            bound.insert(*port, inputs);
        }
        Ok(bound)
    }

    /// Fails if a file of the user's is not what it was when the key was made.
    fn check_inputs(&mut self, node: &Node, resolved: &Resolved) -> Result<(), Error> {
        for (port, origins) in &resolved.origins {
            for (address, origin) in resolved.addresses[port].iter().zip(origins) {
                if let Origin::Path(path) = origin
                    && self.store.address_of(path, &mut self.index).ok() != Some(*address)
                {
                    return Err(Error::InputChanged {
                        node: node.name.clone(),
                        path: path.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    fn publish(&self, node: &Node, out: &Path) -> Result<BTreeMap<String, OutputRecord>, Error> {
        // First all checks, then all publishing: a bad output leaves nothing behind.
        for output in node.stage.outputs {
            let path = out.join(output.file_name());
            if let Some(problem) = output::problem(output, &path).map_err(store::Error::from)? {
                let (node, output) = (node.name.clone(), output.name.to_owned());
                return Err(Error::BadOutput {
                    node,
                    output,
                    problem,
                });
            }
        }
        let mut outputs = BTreeMap::new();
        for output in node.stage.outputs {
            let path = out.join(output.file_name());
            let (address, bytes) = if output.kind == crate::Kind::Tree {
                let (digest, bytes) = self.store.publish_tree(&path)?;
                (Address::Tree(digest), bytes)
            } else {
                let (digest, bytes) = self.store.publish_file(&path)?;
                (Address::Object(digest), bytes)
            };
            let extension = output.kind.extension().to_owned();
            outputs.insert(
                output.name.to_owned(),
                OutputRecord {
                    address,
                    bytes,
                    extension,
                },
            );
        }
        fault_point("publish.objects.done");
        Ok(outputs)
    }
}

/// Calls the stage's function.
fn call(node: &Node, ctx: &Ctx<'_>) -> Result<(), Error> {
    let call = || (node.stage.run)(node.what.clone(), node.how.clone(), ctx);
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if error.downcast_ref::<Interrupted>().is_some() => Err(Error::Interrupted),
        Ok(Err(source)) => Err(Error::Stage {
            node: node.name.clone(),
            source,
        }),
        Err(panic) => Err(Error::Panic {
            node: node.name.clone(),
            message: panic_message(&*panic),
            log: ctx.log_dir.join("stage.log"),
        }),
    }
}

/// A run's staging directory, removed when the run ends, well or badly.
struct Staging(PathBuf);

impl Staging {
    fn new(store: &Store, key: store::Digest) -> Result<Self, Error> {
        let name = format!("{}-{}", key.short(), std::process::id());
        let path = store.tmp().join(name);
        fs_err::create_dir_all(path.join("out")).map_err(store::Error::from)?;
        Ok(Self(path))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is garbage for `gc`.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn parents(resolved: &Resolved) -> BTreeMap<String, String> {
    let mut parents = BTreeMap::new();
    for (port, origins) in &resolved.origins {
        for (index, origin) in origins.iter().enumerate() {
            if let Origin::Trace { id, .. } = origin {
                parents.insert(format!("{port}[{index}]"), id.clone());
            }
        }
    }
    parents
}

fn platform() -> BTreeMap<String, String> {
    let uname = rustix::system::uname();
    let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
    BTreeMap::from([
        ("host".into(), text(uname.nodename())),
        ("kernel".into(), text(uname.release())),
        ("machine".into(), text(uname.machine())),
    ])
}

fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Millisecond)
        .unwrap_or(now)
        .to_string()
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "no message".into())
}

/// An error with all its causes on one line.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
