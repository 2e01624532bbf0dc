//! `batch`: several calls in one request, each with an answer of its own.

use std::cell::Cell;
use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::stream;

use super::errors::wrong;
use super::requests::{BatchRequest, Json};
use super::results::BatchResult;
use super::{Api, ApiError, ApiMethod, Call, Malformed, Reply, raw, to_json};

/// Calls of one batch.
const COMMANDS_MAX: usize = 8 * 1024;

/// Calls of a parallel batch that are executed at once.
const PARALLEL_MAX: usize = 16;

/// Once the answers to a batch are longer than this, in bytes, the rest of its calls is not executed.
const ANSWERS_BYTES_MAX: usize = 16 * 1024 * 1024;

impl Api<'_> {
    /// Executes the calls in their order, or several at once. One that is refused does not keep the others from theirs.
    pub(super) async fn batch(
        &self,
        BatchRequest { commands, parallel }: BatchRequest,
    ) -> Result<BatchResult, ApiError> {
        let commands = commands.ok_or_else(|| wrong("commands is missing"))?;
        if commands.len() > COMMANDS_MAX {
            return Err(ApiError::limit(format_args!("a batch of {} calls: at most {COMMANDS_MAX}", commands.len())));
        }
        let at_once = if parallel.unwrap_or_default() { PARALLEL_MAX } else { 1 };
        let bytes = &Cell::new(0);
        let replies = commands.into_iter().map(async |command| {
            let call = call(command).and_then(|call| match bytes.get() {
                _ if self.context.drain.is_stopping() => Err(ApiError::stopping()),
                ..=ANSWERS_BYTES_MAX => Ok(call),
                _ => Err(ApiError::limit(format_args!("the answers exceed {ANSWERS_BYTES_MAX} bytes"))),
            });
            let executed = match call {
                Ok(call) => self.execute(call).await,
                Err(error) => Err(error),
            };
            let reply = to_json(&executed.unwrap_or_else(Reply::Error));
            bytes.set(bytes.get() + reply.len());
            raw(reply)
        });
        Ok(BatchResult { replies: stream::iter(replies).buffered(at_once).collect().await })
    }
}

/// The call that an object names: the only method of the server that has parameters.
fn call(mut command: BTreeMap<String, Json>) -> Result<Call, ApiError> {
    // Some libraries name every method, without parameters but for one.
    command.retain(|_, parameters| parameters.is_some());
    if command.len() > 1 {
        return Err(wrong("a call of a batch is an object of one method with its parameters, and this names several"));
    }
    let method = |(name, parameters): (String, Json)| Some((name.parse().ok()?, parameters?));
    match command.into_iter().find_map(method) {
        None => Err(ApiError::no_method("a call of a batch is an object of one method with its parameters")),
        Some((ApiMethod::Batch, _)) => Err(ApiError::no_method("a batch within a batch")),
        Some((method, parameters)) => Call::parse(method, parameters.get()).map_err(|Malformed(text)| wrong(text)),
    }
}
