//! Sampling by servers that speak OpenAI's completions protocol: vLLM, or `iota serve`.
//!
//! Used by `run`. Prompts go as token ids and ids come back; whatever a server answers is checked,
//! since vLLM passes over fields that it does not know. Sample `i` of a unit has seed `base + i`
//! (vLLM adds a choice's index to the seed), so how samples are cut into requests decides nothing.
//! How many requests a server gets at a time is found out (`pace`); what one refuses or drops is
//! asked again, of any of them. The client is ureq, which the program has for `iota fetch`: threads
//! that wait are cheap at this scale, and an asynchronous one would bring a second runtime.

mod board;
mod pace;
#[cfg(test)]
mod tests;
mod wire;

use super::asking::{Answer, Ask, Asking};
use super::collect::Collector;
use super::{How, What};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use board::{Board, Chunk};
use engine::Ctx;
use model::checkpoint::content_name;
use pace::{Outcome, Pace};
use serde_json::Value;
use std::time::Duration;
use ureq::Agent;
use wire::Wire;

/// Longest answer that is read, in bytes.
const ANSWER_BYTES: u64 = 256 << 20;

/// All servers.
pub(super) struct Servers<'a> {
    agent: Agent,
    all: Vec<Server>,
    wire: Wire,
    connections: usize,
    samples_per_request: u64,
    ctx: &'a Ctx<'a>,
}

struct Server {
    address: String,
    pace: Pace,
}

/// Why a request brought nothing.
enum Failure {
    /// Too much to do: 503 or 429.
    Busy(String),
    /// Gone, or broken in a way that may pass.
    Broken(String),
    /// Asking again cannot help.
    Fatal(anyhow::Error),
}

impl<'a> Servers<'a> {
    /// Looks whether every server has the model.
    pub(super) fn new(what: &What, how: &How, asking: &Asking, ctx: &'a Ctx<'a>) -> Result<Self> {
        ensure!(!how.servers.is_empty(), "`how.servers` names no server");
        let folder = ctx.input("model")?;
        let model = match how.model_name.as_str() {
            "" => content_name(folder)?,
            name => name.to_owned(),
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(how.request_timeout_s.max(1))))
            .build()
            .into();
        let servers = how.servers.iter().map(|address| Server {
            address: address
                .trim_end_matches('/')
                .trim_end_matches("/v1")
                .to_owned(),
            pace: Pace::new(how.connections.max(1)),
        });
        let servers = Self {
            agent,
            all: servers.collect(),
            wire: Wire::new(what, asking, model, ctx.seed()),
            connections: how.connections.max(1),
            samples_per_request: how.samples_per_request.max(1),
            ctx,
        };
        for server in &servers.all {
            servers.look(server).with_context(|| {
                format!(
                    "asking {} for its models; it could be started with `vllm serve {} \
                     --served-model-name {name} --generation-config vllm` or `iota serve --model \
                     {}`, and has to know the model as {name} (or set how.model_name)",
                    server.address,
                    folder.display(),
                    folder.display(),
                    name = servers.wire.model
                )
            })?;
        }
        Ok(servers)
    }

    fn look(&self, server: &Server) -> Result<()> {
        let url = format!("{}/v1/models", server.address);
        let mut response = self.agent.get(&url).call()?;
        let status = response.status().as_u16();
        ensure!(status == 200, "{url} answers {status}");
        let text = response.body_mut().read_to_string()?;
        let answer: Value = serde_json::from_str(&text).context("it answers no JSON")?;
        let models = answer["data"].as_array().context("it names no models")?;
        let names: Vec<&str> = models.iter().filter_map(|m| m["id"].as_str()).collect();
        ensure!(
            names.contains(&self.wire.model.as_str()),
            "it serves {}, not {}",
            names.join(", "),
            self.wire.model
        );
        Ok(())
    }

    /// Draws everything that is asked.
    pub(super) fn draw(&self, asks: &[Ask<'_>], asking: &Asking, to: &Collector<'_>) -> Result<()> {
        let mut chunks = Vec::new();
        for (index, ask) in asks.iter().enumerate() {
            for start in (0..ask.unit.samples).step_by(self.samples_per_request as usize) {
                chunks.push(Chunk {
                    ask: index,
                    first: ask.unit.first + start,
                    samples: self.samples_per_request.min(ask.unit.samples - start),
                });
            }
        }
        let board = Board::new(chunks);
        std::thread::scope(|scope| {
            for server in &self.all {
                for number in 0..self.connections {
                    let board = &board;
                    scope.spawn(move || self.work(server, number, board, (asks, asking), to));
                }
            }
        });
        if !to.stopped() && board.left() > 0 {
            let words = self.all.iter().map(|server| {
                let last = server.pace.last_words();
                format!("{}: {last}", server.address)
            });
            bail!(
                "all servers failed with {} requests left; the finished shards stay, and the same \
                 command goes on\n{}",
                board.left(),
                words.collect::<Vec<_>>().join("\n")
            );
        }
        Ok(())
    }

    /// One connection: asks until nothing is left or the server is given up.
    fn work(
        &self,
        server: &Server,
        number: usize,
        board: &Board,
        (asks, asking): (&[Ask<'_>], &Asking),
        to: &Collector<'_>,
    ) {
        let stopped = || to.stopped();
        while server.pace.enter(&stopped) {
            let Some(chunk) = board.take(&stopped) else {
                server.pace.leave(Outcome::Unused);
                return;
            };
            let ask = &asks[chunk.ask];
            let outcome = match self.ask(server, ask, chunk) {
                Ok(answers) => {
                    let added = answers.into_iter().try_for_each(|answer| {
                        to.add(ask.shard, ask.place, asking.row(ask.unit, answer)?)
                    });
                    board.done();
                    if let Err(error) = added {
                        to.fail(error);
                    }
                    server.pace.leave(Outcome::Answered);
                    continue;
                }
                Err(Failure::Fatal(error)) => {
                    to.fail(error.context(format!(
                        "asking {} for {}",
                        server.address,
                        ask.unit.problem_id()
                    )));
                    Outcome::Broken(String::new())
                }
                Err(Failure::Busy(why)) => Outcome::Busy(why),
                Err(Failure::Broken(why)) => Outcome::Broken(why),
            };
            board.give_back(chunk);
            let wait = server.pace.leave(outcome);
            pace::sleep(wait, number, &stopped);
        }
        if let (Some(words), true) = (server.pace.given_up(), !to.stopped()) {
            self.ctx
                .warn(format!("{} is given up: {words}", server.address));
        }
    }

    fn ask(&self, server: &Server, ask: &Ask<'_>, chunk: Chunk) -> Result<Vec<Answer>, Failure> {
        let url = format!("{}/v1/completions", server.address);
        let body = self.wire.request(ask, chunk).to_string();
        let sent = self
            .agent
            .post(&url)
            .header("content-type", "application/json")
            .send(&body);
        let mut response = sent.map_err(|error| Failure::Broken(error.to_string()))?;
        let status = response.status().as_u16();
        let text = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES)
            .read_to_string()
            .map_err(|error| Failure::Broken(format!("its answer breaks off: {error}")))?;
        let says = || {
            let start: String = text.chars().take(300).collect();
            format!("it answers {status}: {start}")
        };
        match status {
            200 => {}
            429 | 503 => return Err(Failure::Busy(says())),
            408 | 500..=599 => return Err(Failure::Broken(says())),
            _ => return Err(Failure::Fatal(anyhow!(says()))),
        }
        self.wire.answers(&text, ask, chunk).map_err(Failure::Fatal)
    }
}
