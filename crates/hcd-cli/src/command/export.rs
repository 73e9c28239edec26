//! `hcd export`: weights as a file of their own.

use crate::args::{ExportArgs, Format, Width};
use crate::{output, session};
use hcd::models::weights::{self, Precision};
use hcd::{export, files};
use serde_json::json;

pub fn run(args: ExportArgs) -> anyhow::Result<()> {
    if args.out.exists() {
        let message = format!("{}: already there; name another file with --out", args.out.display());
        return Err(hcd::Error::Run(message).into());
    }
    let loaded = session::load_network(&args.source, &session::device())?;
    let precision = match args.precision {
        Width::F32 => Precision::F32,
        Width::F16 => Precision::F16,
    };
    match args.format {
        Format::Safetensors => {
            export::save(&args.out, &weights::snapshot(&loaded.network), precision, &loaded.card)?;
        }
        Format::Onnx => export::onnx::save(&args.out, &loaded.network, precision, &loaded.card)?,
    }
    let bytes = files::read(&args.out)?;
    if args.json {
        return output::json(&json!({
            "file": args.out,
            "bytes": bytes.len(),
            "blake3": files::hash(&bytes),
            "model": loaded.card.model,
        }));
    }
    output::line(&format!("{}: {}, {} bytes", args.out.display(), loaded.card.model, bytes.len()));
    Ok(())
}
