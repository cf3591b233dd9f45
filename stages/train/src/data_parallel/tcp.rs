//! Processes that meet at rank 0 over TCP: small numbers always, gradients if there is no NCCL.
//!
//! All connections lead to rank 0, which listens at the address that all were given, for as long
//! as the processes need to come. Whatever is exchanged goes to rank 0 and from there to all. That
//! is little for an adapter and much for a whole model: those want NCCL, whose group meets here.
//! A process that ends closes its connection; the others notice at their next word. Deliberately
//! absent: secrecy and passwords (use a network of your own), ranks that come back.

use super::{Collective, tree_sum};
use crate::training_loop::Sums;
use anyhow::{Context as _, Result, bail, ensure};
use engine::Interrupted;
use model::parameters::Parameters;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::ranks::Ranks;

/// What a connection begins with.
const GREETING: &[u8] = b"iota data parallel 1\n";
/// Longest first message.
const HELLO_BYTES: u64 = 1 << 16;
/// Longest message.
const MESSAGE_BYTES: u64 = 1 << 32;
/// How long a process waits for the others.
const PATIENCE: Duration = Duration::from_mins(10);
/// Values that are added at a time.
const PIECE: usize = 1 << 22;

/// A group that has met.
pub struct Tcp {
    rank: usize,
    size: usize,
    /// At rank 0 all others, in order; elsewhere rank 0.
    peers: Vec<TcpStream>,
    /// Names that came from others; they live as long as the process.
    names: Mutex<BTreeSet<&'static str>>,
}

fn send(mut peer: &TcpStream, message: &[u8]) -> std::io::Result<()> {
    peer.write_all(&(message.len() as u64).to_le_bytes())?;
    peer.write_all(message)
}

fn receive(mut peer: &TcpStream, longest: u64) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 8];
    peer.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > longest {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length as usize];
    peer.read_exact(&mut message)?;
    Ok(message)
}

impl Tcp {
    /// Waits until all have come; `about` must be the same text in all.
    ///
    /// # Errors
    /// One does not come or is about something else, nobody can listen at the address, or
    /// [`Interrupted`].
    pub fn meet(ranks: &Ranks, about: &str, stop: &dyn Fn() -> bool) -> Result<Self> {
        Self::meet_within(PATIENCE, ranks, about, stop)
    }

    fn meet_within(
        patience: Duration,
        ranks: &Ranks,
        about: &str,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self> {
        let place = (ranks.address.as_str(), ranks.port);
        let named = format!("{}:{}", ranks.address, ranks.port);
        let deadline = Instant::now() + patience;
        let patient = || -> Result<bool> {
            if stop() {
                return Err(Interrupted.into());
            }
            std::thread::sleep(Duration::from_millis(20));
            Ok(Instant::now() < deadline)
        };
        let peers = if ranks.rank == 0 {
            let listener = TcpListener::bind(place).with_context(|| {
                format!(
                    "rank 0 cannot listen at {named}: MASTER_ADDR must be an address of its own \
                     host, and MASTER_PORT free"
                )
            })?;
            welcome(&listener, ranks, about, &patient)?
        } else {
            loop {
                match TcpStream::connect(place) {
                    Ok(peer) => break vec![present(peer, ranks, about)?],
                    Err(error) if !patient()? => {
                        let text = format!("rank 0 is not to be reached at {named}");
                        return Err(anyhow::Error::from(error).context(text));
                    }
                    Err(_) => {}
                }
            }
        };
        for peer in &peers {
            peer.set_nodelay(true)?;
            peer.set_read_timeout(None)?;
        }
        Ok(Self {
            rank: ranks.rank,
            size: ranks.size,
            peers,
            names: Mutex::default(),
        })
    }

    /// Everybody's message, by rank.
    pub(super) fn exchange(&self, message: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        if self.rank == 0 {
            let mut all = vec![message];
            for (peer, rank) in self.peers.iter().zip(1..) {
                all.push(receive(peer, MESSAGE_BYTES).map_err(|_| gone(rank))?);
            }
            for (peer, rank) in self.peers.iter().zip(1..) {
                for message in &all {
                    send(peer, message).map_err(|_| gone(rank))?;
                }
            }
            return Ok(all);
        }
        let exchange = || -> std::io::Result<Vec<Vec<u8>>> {
            send(&self.peers[0], &message)?;
            (0..self.size)
                .map(|_| receive(&self.peers[0], MESSAGE_BYTES))
                .collect()
        };
        exchange().map_err(|_| gone(0))
    }

    /// Fails if a process that this one is connected with has gone; does not wait.
    #[cfg_attr(not(feature = "nccl"), allow(dead_code))]
    pub(super) fn alive(&self) -> Result<()> {
        let first = usize::from(self.rank == 0);
        for (peer, rank) in self.peers.iter().zip(first..) {
            peer.set_nonblocking(true)?;
            let peeked = peer.peek(&mut [0]);
            peer.set_nonblocking(false)?;
            match peeked {
                Ok(0) => return Err(gone(rank)),
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(gone(rank)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds values of all processes in the tree of halves.
    fn sum_values(&self, values: &mut [f32]) -> Result<()> {
        for values in values.chunks_mut(PIECE) {
            let own: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            let sum = if self.rank == 0 {
                let mut all = vec![values.to_vec()];
                for (peer, rank) in self.peers.iter().zip(1..) {
                    let part = receive(peer, MESSAGE_BYTES).map_err(|_| gone(rank))?;
                    all.push(numbers(&part, values.len(), rank)?);
                }
                let sum = tree_sum(all, &|sum: &mut Vec<f32>, part| {
                    sum.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
                });
                let message: Vec<u8> = sum.iter().flat_map(|x| x.to_le_bytes()).collect();
                for (peer, rank) in self.peers.iter().zip(1..) {
                    send(peer, &message).map_err(|_| gone(rank))?;
                }
                sum
            } else {
                send(&self.peers[0], &own).map_err(|_| gone(0))?;
                let sum = receive(&self.peers[0], MESSAGE_BYTES).map_err(|_| gone(0))?;
                numbers(&sum, values.len(), 0)?
            };
            values.copy_from_slice(&sum);
        }
        Ok(())
    }
}

fn gone(rank: usize) -> anyhow::Error {
    anyhow::anyhow!(
        "rank {rank} has gone; its own output says why. The last checkpoint is kept: start all \
         processes again, and they go on from there"
    )
}

fn numbers(bytes: &[u8], count: usize, rank: usize) -> Result<Vec<f32>> {
    ensure!(
        bytes.len() == 4 * count,
        "rank {rank} sent {} values instead of {count}",
        bytes.len() / 4
    );
    let (numbers, _) = bytes.as_chunks::<4>();
    Ok(numbers.iter().map(|&x| f32::from_le_bytes(x)).collect())
}

/// Rank 0's side: the connections of all others, by rank.
fn welcome(
    listener: &TcpListener,
    ranks: &Ranks,
    about: &str,
    patient: &dyn Fn() -> Result<bool>,
) -> Result<Vec<TcpStream>> {
    listener.set_nonblocking(true)?;
    let mut come: BTreeMap<usize, TcpStream> = BTreeMap::new();
    while come.len() + 1 < ranks.size {
        let Ok((peer, from)) = listener.accept() else {
            if !patient()? {
                let missing = (1..ranks.size).filter(|rank| !come.contains_key(rank));
                let missing: Vec<String> = missing.map(|rank| rank.to_string()).collect();
                bail!(
                    "of {} processes rank {} did not come within {} minutes: are all started with \
                     the same command, and one `--artifacts` folder?",
                    ranks.size,
                    missing.join(", "),
                    PATIENCE.as_secs() / 60
                );
            }
            continue;
        };
        peer.set_nonblocking(false)?;
        peer.set_read_timeout(Some(Duration::from_secs(10)))?;
        // Somebody else may knock here; whoever does not greet is not of us.
        let Ok(hello) = receive(&peer, HELLO_BYTES) else {
            continue;
        };
        let Some(hello) = hello.strip_prefix(GREETING) else {
            continue;
        };
        let hello = String::from_utf8_lossy(hello).into_owned();
        let (rank, theirs) = hello.split_once('\n').unwrap_or_default();
        let rank: usize = rank.parse().unwrap_or(0);
        let refusal = if !(1..ranks.size).contains(&rank) {
            format!(
                "rank {rank} from {from} is none of the {} expected",
                ranks.size
            )
        } else if theirs != about {
            format!("rank {rank} trains something else: {theirs}; rank 0: {about}")
        } else if let Entry::Vacant(place) = come.entry(rank) {
            send(&peer, b"")?;
            place.insert(peer);
            continue;
        } else {
            format!("there are two processes of rank {rank}")
        };
        let _ = send(&peer, refusal.as_bytes());
        bail!("{refusal}");
    }
    Ok(come.into_values().collect())
}

/// The others' side: introduces itself to rank 0.
fn present(peer: TcpStream, ranks: &Ranks, about: &str) -> Result<TcpStream> {
    let mut hello = GREETING.to_vec();
    hello.extend_from_slice(format!("{}\n{about}", ranks.rank).as_bytes());
    let answer = send(&peer, &hello).and_then(|()| receive(&peer, HELLO_BYTES));
    let answer = answer.map_err(|_| gone(0))?;
    ensure!(
        answer.is_empty(),
        "rank 0 says: {}",
        String::from_utf8_lossy(&answer)
    );
    Ok(peer)
}

impl Collective for Tcp {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sum(&self, gradients: &mut Parameters) -> Result<()> {
        if gradients.device().is_none() {
            for tensor in gradients.tensors.values_mut() {
                self.sum_values(&mut tensor.data)?;
            }
            return Ok(());
        }
        let mut summed = gradients.copied(gradients.tensors.keys())?;
        for tensor in summed.tensors.values_mut() {
            self.sum_values(&mut tensor.data)?;
        }
        gradients.replace(summed)
    }

    fn gather(&self, sums: Option<Sums>) -> Result<Option<Vec<Sums>>> {
        // Bits, so that every number arrives as it is.
        let own = sums.map(|sums| -> BTreeMap<&str, u64> {
            let bits = sums
                .into_iter()
                .map(|(name, value)| (name, value.to_bits()));
            bits.collect()
        });
        let mut names = self.names.lock().expect("no panic inside");
        let mut all = Some(Vec::new());
        for message in self.exchange(serde_json::to_vec(&own)?)? {
            let theirs: Option<BTreeMap<String, u64>> = serde_json::from_slice(&message)?;
            let (Some(theirs), Some(sums)) = (theirs, &mut all) else {
                all = None;
                continue;
            };
            let named = theirs.into_iter().map(|(name, bits)| {
                let known = names.get(name.as_str()).copied();
                // As many as there are metrics, each once.
                let name = known.unwrap_or_else(|| Box::leak(name.into_boxed_str()));
                names.insert(name);
                (name, f64::from_bits(bits))
            });
            sums.push(named.collect::<Sums>());
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(size: usize) -> Vec<Ranks> {
        // A port that was free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("loopback is there").port();
        let of = |rank| Ranks {
            rank,
            size,
            local: rank,
            address: "127.0.0.1".to_owned(),
            port,
        };
        (0..size).map(of).collect()
    }

    /// What every rank comes to, each in a thread.
    fn meeting<T: Send>(size: usize, work: impl Fn(&Ranks) -> T + Sync) -> Vec<T> {
        let ranks = ranks(size);
        std::thread::scope(|scope| {
            let threads: Vec<_> = ranks.iter().map(|own| scope.spawn(|| work(own))).collect();
            let results = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
            results.map(|result| result.expect("no panic")).collect()
        })
    }

    #[test]
    fn sums_are_those_of_the_tree_of_halves() {
        let value = |rank: usize, i: usize| ((rank * 37 + i * i) % 101) as f32 * 1e-3 + 1e4;
        let sums = meeting(4, |ranks| {
            let group = Tcp::meet(ranks, "a test", &|| false).expect("all come");
            let mut values: Vec<f32> = (0..1000).map(|i| value(ranks.rank, i)).collect();
            group.sum_values(&mut values).expect("all stay");
            let sums = Sums::from([("loss", f64::from(ranks.rank as u32))]);
            let gathered = group.gather(Some(sums)).expect("all stay");
            let losses: Vec<f64> = gathered.into_iter().flatten().map(|s| s["loss"]).collect();
            assert_eq!(losses, [0.0, 1.0, 2.0, 3.0]);
            assert!(!group.any(false).expect("all stay"));
            assert!(group.any(ranks.rank == 2).expect("all stay"));
            values
        });
        for sum in sums {
            for (i, &sum) in sum.iter().enumerate() {
                let wanted = (value(0, i) + value(1, i)) + (value(2, i) + value(3, i));
                assert_eq!(sum.to_bits(), wanted.to_bits());
            }
        }
    }

    #[test]
    fn who_leaves_is_missed() {
        let errors = meeting(3, |ranks| {
            let group = Tcp::meet(ranks, "a test", &|| false).expect("all come");
            if ranks.rank == 2 {
                return None;
            }
            let error = group.gather(None).err();
            error.map(|error| error.to_string())
        });
        assert!(
            errors[0]
                .as_ref()
                .expect("it fails")
                .contains("rank 2 has gone")
        );
        assert!(
            errors[1]
                .as_ref()
                .expect("it fails")
                .contains("rank 0 has gone")
        );
    }

    #[test]
    fn who_trains_something_else_is_refused() {
        let errors = meeting(2, |ranks| {
            let about = format!("node {}", ranks.rank);
            let group = Tcp::meet(ranks, &about, &|| false);
            group.err().expect("they differ").to_string()
        });
        for error in errors {
            assert!(error.contains("trains something else: node 1"), "{error}");
        }
    }

    #[test]
    fn who_does_not_come_is_named_and_waiting_can_be_stopped() {
        let patience = Duration::from_millis(100);
        for (rank, part) in [(0, "rank 1, 2 did not come"), (2, "not to be reached")] {
            let ranks = &ranks(3)[rank];
            let met = Tcp::meet_within(patience, ranks, "a test", &|| false);
            let error = met.err().expect("nobody else is there").to_string();
            assert!(error.contains(part), "{error}");
            let met = Tcp::meet(ranks, "a test", &|| true);
            assert!(met.err().expect("it was stopped").is::<Interrupted>());
        }
    }
}
