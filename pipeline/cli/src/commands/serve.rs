//! `iota serve`: a model behind OpenAI's HTTP protocol.
//!
//! `/v1/completions`, `/v1/chat/completions` if the tokenizer has a template, `/v1/models`,
//! `/metrics`, `/health`; answers whole or streamed. The sampling engine is that of `sample`; seed
//! `s` of a request with `n` samples is `s`, `s + 1`, ... of requests with one. HTTP/1.1 is read by
//! httparse, which ureq brings anyway, on one thread a connection: some dozens of clients need no
//! more, and every limit is in sight (`http`). It listens on loopback unless told otherwise, has
//! no TLS and no accounts: put a proxy before it for others. Paths and methods that are not
//! here are 404 and 405.

mod answer;
mod app;
mod body;
mod chat;
mod handle;
mod http;
mod metrics;
mod stream;

use super::say;
use crate::exit::Exit;
use anyhow::{Context as _, Result, ensure};
use app::App;
use clap::Args;
use model::{
    checkpoint::{Checkpoint, content_name, load_tokenizer},
    generate::{Decoder, Form, Limits},
    lora,
    network::Network,
};
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// How long answers under way are waited for after the first signal.
const PATIENCE: Duration = Duration::from_mins(1);

/// Stops after the answers under way at the first SIGINT or SIGTERM, at once at the second.
///
/// Example: iota serve --model artifacts/refs/mini/sft/model --address 127.0.0.1:8000
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ServeArgs {
    /// A Hugging Face folder with a tokenizer.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// A PEFT folder that is served beside the model, under a name of its own; several times.
    #[arg(long, value_name = "NAME=DIR", value_parser = named)]
    adapter: Vec<(String, PathBuf)>,
    /// What to call the model [default: iota- and the hash of its content].
    #[arg(long)]
    name: Option<String>,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8000")]
    address: SocketAddr,
    /// How weights are kept: f32, bf16, int8 or int4.
    #[arg(long, default_value = "f32", value_parser = form)]
    weights: Form,
    /// Threads; 0 = as many as there are cores.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Sequences each thread decodes side by side.
    #[arg(long, default_value_t = Limits::default().slots_per_thread)]
    slots: usize,
    /// Megabytes of keys and values.
    #[arg(long, default_value_t = Limits::default().cache_bytes >> 20)]
    cache_mb: usize,
    /// Samples that may run and wait; a request beyond is answered 503.
    #[arg(long, default_value_t = 1024)]
    max_queued: usize,
    /// Longest request body in kilobytes; a longer one is answered 413.
    #[arg(long, default_value_t = 1024)]
    max_body_kb: usize,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, folder) = text.split_once('=').ok_or("it has to be NAME=DIR")?;
    Ok((name.to_owned(), folder.into()))
}

fn form(text: &str) -> Result<Form, String> {
    match text {
        "f32" => Ok(Form::F32),
        "bf16" => Ok(Form::Bf16),
        "int8" => Ok(Form::Int8),
        "int4" => Ok(Form::Int4),
        _ => Err("there are f32, bf16, int8 and int4".to_owned()),
    }
}

/// Serves until a signal comes.
pub(super) fn serve(args: &ServeArgs) -> Result<Exit> {
    let app = Arc::new(load(args)?);
    let listener = TcpListener::bind(args.address)
        .with_context(|| format!("listening on {}; is the port taken?", args.address))?;
    let address = listener.local_addr()?;
    stop_on_signals(&app, address)?;
    let limits = Limits {
        slots_per_thread: args.slots,
        cache_bytes: args.cache_mb << 20,
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads)
        .build()?;
    let engine = std::thread::spawn({
        let app = Arc::clone(&app);
        move || pool.install(|| app.run(limits))
    });
    say!("http://{address} serves {}", app.names.join(", "));
    for stream in listener.incoming() {
        if app.stopping.load(Ordering::SeqCst) {
            break;
        }
        // A connection that broke before it was taken is no reason to stop.
        let Ok(stream) = stream else { continue };
        let app = Arc::clone(&app);
        std::thread::spawn(move || handle::connection(&app, stream));
    }
    app.queue.close();
    let began = Instant::now();
    while app.busy.load(Ordering::SeqCst) > 0 && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
    app.queue.abandon();
    engine
        .join()
        .map_err(|_| anyhow::anyhow!("the engine panicked"))??;
    Ok(Exit::Success)
}

fn load(args: &ServeArgs) -> Result<App> {
    let Checkpoint {
        config,
        mut parameters,
    } = Checkpoint::load(&args.model).context("the model cannot be read")?;
    ensure!(
        config.architecture.has_head(),
        "{} is a reward model, which cannot write",
        args.model.display()
    );
    let tokenizer = load_tokenizer(&args.model, &config)
        .context("a model without its tokenizer cannot be served: put tokenizer.json beside it")?;
    let mut names = vec![match &args.name {
        Some(name) => name.clone(),
        None => content_name(&args.model)?,
    }];
    let network = Network::new(config.clone());
    let mut decoder = Decoder::in_form(args.weights, &network, &parameters);
    for (name, folder) in &args.adapter {
        ensure!(!names.contains(name), "two models are called {name}");
        let adapter = lora::read(folder, name, &config, &mut parameters)
            .with_context(|| format!("the adapter {name} cannot be read"))?;
        decoder.adapt(&network, &parameters, &adapter)?;
        names.push(name.clone());
    }
    App::new(
        decoder,
        tokenizer,
        names,
        &args.model,
        (args.max_queued, args.max_body_kb << 10),
    )
}

fn stop_on_signals(app: &Arc<App>, address: SocketAddr) -> Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let app = Arc::clone(app);
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if app.stopping.swap(true, Ordering::SeqCst) {
                signal_hook::low_level::exit(130);
            }
            // Wakes the loop that waits for connections.
            let _ = TcpStream::connect(address);
        }
    });
    Ok(())
}
