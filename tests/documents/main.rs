//! The documents say what is: each test compares one of them with the program or with the repository.

/// The code blocks of the documents.
mod blocks;
/// The tables of errors and endings, with the codes of the server.
mod codes;
/// The dialogs, and the programs in Python, with the built server.
mod dialogs;
/// Every example is run or checked: settings, command lines, and a table of who runs the rest.
mod examples;
/// Every link between documents, and every path and test that they name.
mod links;
/// The tables of metrics in `docs/operating.md` and `docs/cluster.md`, with what `GET /metrics` serves.
mod metrics_table;
/// The alerts and the dashboard in `deploy/`, with `docs/monitoring.md`.
mod monitoring;
/// The promises in `docs/reliability.md`, each with a test.
mod promises;
/// `docs/settings.md`, with what `roomcast settings --markdown` prints.
mod settings_page;
/// Variables of the environment in documents and examples, with those that the program reads.
mod variables;
