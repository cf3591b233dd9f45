//! One connection: requests in, answers out, until the client closes or goes away.
//!
//! Run by `serve` on a thread of its own.

use super::answer::{self, Form, choice, usage};
use super::app::{App, Event, Tag};
use super::body::{Asked, Body};
use super::http::{Connection, Refusal, Request};
use super::stream::Choice;
use model::generate::{Sample, Task};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    time::Duration,
};

/// How often one who waits for an answer looks whether its client is still there.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Answers requests until the connection ends.
pub(super) fn connection(app: &App, stream: TcpStream) {
    let Ok(mut connection) = Connection::new(stream) else {
        return;
    };
    loop {
        let request = match connection.read(app.max_body_bytes) {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(Refusal(status, text)) => {
                app.metrics.answer(status);
                // What follows in the stream cannot be trusted; nor need the client listen.
                let _ = connection.send(status, JSON, &answer::error(status, &text), false);
                return;
            }
        };
        app.busy.fetch_add(1, Ordering::SeqCst);
        let keep_alive = request.keep_alive && !app.stopping.load(Ordering::SeqCst);
        let sent = match respond(app, &mut connection, &request) {
            Ok(Done::Whole(status, kind, text)) => {
                app.metrics.answer(status);
                connection.send(status, kind, &text, keep_alive).is_ok()
            }
            Ok(Done::Streamed(sent)) => {
                app.metrics.answer(200);
                sent
            }
            Err(Refusal(status, text)) => {
                app.metrics.answer(status);
                let text = answer::error(status, &text);
                connection.send(status, JSON, &text, keep_alive).is_ok()
            }
        };
        app.busy.fetch_sub(1, Ordering::SeqCst);
        if !sent || !keep_alive {
            return;
        }
    }
}

const JSON: &str = "application/json";

enum Done {
    /// Status, content type, text.
    Whole(u16, &'static str, String),
    /// Whether the client took it all.
    Streamed(bool),
}

fn respond(app: &App, connection: &mut Connection, request: &Request) -> Result<Done, Refusal> {
    let path = request.path.split('?').next().unwrap_or_default();
    let whole = |kind, text| Ok(Done::Whole(200, kind, text));
    match (request.method.as_str(), path) {
        ("GET", "/health") => whole("text/plain", "ok\n".to_owned()),
        ("GET", "/metrics") => whole("text/plain; version=0.0.4", app.metrics.text(app)),
        ("GET", "/v1/models") => {
            let model =
                |name| json!({"id": name, "object": "model", "created": 0, "owned_by": "iota"});
            let data: Vec<Value> = app.names.iter().map(model).collect();
            whole(JSON, json!({"object": "list", "data": data}).to_string())
        }
        ("POST", "/v1/completions") => complete(app, connection, &request.body, false),
        ("POST", "/v1/chat/completions") => complete(app, connection, &request.body, true),
        (_, "/health" | "/metrics" | "/v1/models" | "/v1/completions" | "/v1/chat/completions") => {
            Err(Refusal(
                405,
                format!("{path} does not take {}", request.method),
            ))
        }
        _ => Err(Refusal(404, format!("there is no {path}"))),
    }
}

fn complete(
    app: &App,
    connection: &mut Connection,
    body: &[u8],
    chat: bool,
) -> Result<Done, Refusal> {
    let wrong = |error: anyhow::Error| Refusal(400, format!("{error:#}"));
    let body = Body::parse(body)?;
    if let Some(model) = &body.model
        && !app.names.contains(model)
    {
        let text = format!("there is no model {model}, but {}", app.names.join(", "));
        return Err(Refusal(404, text));
    }
    let prompts = if chat {
        let no_template = || Refusal(404, "the model's tokenizer has no chat template".to_owned());
        let template = app.template.as_ref().ok_or_else(no_template)?;
        let messages = body.messages.as_ref();
        let messages =
            messages.ok_or_else(|| Refusal(400, "there are no `messages`".to_owned()))?;
        let text = template.apply(messages).map_err(wrong)?;
        // The template says what goes before.
        vec![app.tokenizer.encode(&text).map_err(wrong)?]
    } else {
        body.prompts(app).map_err(wrong)?
    };
    let asked = body.ask(app, prompts, chat).map_err(wrong)?;
    let samples = asked.requests.len() * asked.samples;
    let Some(_seats) = app.seat(samples) else {
        let (taken, seats) = app.seats();
        let text = format!("{samples} samples are too many: {taken} of {seats} places are taken");
        return Err(Refusal(503, text));
    };
    app.metrics
        .prompt(asked.requests.iter().map(|r| r.prompt.len()).sum());
    let streams = body.stream == Some(true);
    let gone = Arc::new(AtomicBool::new(false));
    let events = push(app, &asked, streams, &gone)?;
    let done = if streams {
        Ok(Done::Streamed(
            send_stream(app, connection, &body, &asked, chat, &events).is_ok(),
        ))
    } else {
        gather(app, connection, &body, &asked, chat, &events)
    };
    gone.store(true, Ordering::Relaxed);
    done
}

/// Hands the requests to the engine.
fn push(
    app: &App,
    asked: &Asked,
    streams: bool,
    gone: &Arc<AtomicBool>,
) -> Result<Receiver<Event>, Refusal> {
    let (sender, events) = channel();
    for (number, request) in asked.requests.iter().enumerate() {
        let refused = app.queue.push(Task {
            request: request.clone(),
            settings: Arc::clone(&asked.settings),
            tag: Tag {
                sender: sender.clone(),
                choice: number * asked.samples,
                first_sample: request.first_sample,
                streams,
                gone: Arc::clone(gone),
            },
        });
        if refused.is_some() {
            return Err(Refusal(503, "the server is stopping".to_owned()));
        }
    }
    Ok(events)
}

/// The next event; nothing when all choices are done.
fn next(connection: &Connection, events: &Receiver<Event>) -> Result<Option<Event>, Refusal> {
    loop {
        match events.recv_timeout(LOOK_EVERY) {
            Ok(event) => return Ok(Some(event)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) if connection.is_gone() => {
                return Err(Refusal(400, "the client went away".to_owned()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn gather(
    app: &App,
    connection: &Connection,
    body: &Body,
    asked: &Asked,
    chat: bool,
    events: &Receiver<Event>,
) -> Result<Done, Refusal> {
    let mut samples: BTreeMap<usize, Sample> = BTreeMap::new();
    while let Some(event) = next(connection, events)? {
        if let Event::Done { choice, sample } = event {
            samples.insert(choice, sample);
        }
    }
    if samples.len() < asked.requests.len() * asked.samples {
        return Err(Refusal(
            503,
            "the server stopped before all was sampled".to_owned(),
        ));
    }
    if samples
        .values()
        .any(|s| s.log_probs.iter().any(|p| !p.is_finite()))
    {
        let text = "the model's probabilities are not numbers; its training diverged";
        return Err(Refusal(500, text.to_owned()));
    }
    let with_ids = body.return_token_ids == Some(true);
    let choices: Vec<Value> = samples
        .iter()
        .map(|(index, sample)| {
            let prompt = &asked.requests[index / asked.samples].prompt;
            let prompt = with_ids.then_some(&prompt[..]);
            choice(app, chat, *index, sample, body.wants_log_probs(), prompt)
        })
        .collect();
    let usage = used(
        asked,
        samples.values().map(|sample| sample.tokens.len()).sum(),
    );
    let answer = Form::new(chat, asked).object(false, &choices, Some(usage));
    Ok(Done::Whole(200, JSON, answer.to_string()))
}

fn used(asked: &Asked, tokens: usize) -> Value {
    usage(asked.requests.iter().map(|r| r.prompt.len()).sum(), tokens)
}

fn send_stream(
    app: &App,
    connection: &mut Connection,
    body: &Body,
    asked: &Asked,
    chat: bool,
    events: &Receiver<Event>,
) -> std::io::Result<()> {
    let form = Form::new(chat, asked);
    let longest = asked.settings.stop_strings.iter().map(String::len).max();
    let held = longest.map_or(0, |longest| longest - 1);
    let mut choices: BTreeMap<usize, Choice> = BTreeMap::new();
    let mut tokens = 0;
    connection.begin_events()?;
    while let Ok(Some(event)) = next(connection, events) {
        let (index, text, end) = match &event {
            Event::Token { choice, id } => {
                tokens += 1;
                let text = choices.entry(*choice).or_default().token(app, *id, held);
                (*choice, text, None)
            }
            Event::Done { choice, sample } => {
                let text = choices.entry(*choice).or_default().finish(app, sample);
                (*choice, text, Some(sample))
            }
        };
        let state = choices.entry(index).or_default();
        if !text.is_empty() || end.is_some() {
            let piece = form.piece(index, &text, !state.begun, end);
            state.begun = true;
            connection.event(&form.object(true, &[piece], None).to_string())?;
        }
    }
    if body
        .stream_options
        .as_ref()
        .is_some_and(|options| options.include_usage)
    {
        let last = form.object(true, &[], Some(used(asked, tokens)));
        connection.event(&last.to_string())?;
    }
    connection.event("[DONE]")?;
    connection.end_events()
}
