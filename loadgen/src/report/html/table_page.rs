//! A page with one table, for a search or a comparison.

use anyhow::Context;
use askama::Template;

use super::ChartSvg;
use crate::report::chart::Chart;

/// The content of the page.
#[derive(Debug, Default)]
pub struct TablePage {
    /// The kind of page, above the title.
    pub kind: &'static str,
    pub title: String,
    /// When the measurement began, in RFC 3339.
    pub began: String,
    /// The command line.
    pub command: String,
    /// Statements, each with whether it is good.
    pub verdict: Vec<(bool, String)>,
    /// The heading of the table.
    pub heading: &'static str,
    /// Charts above the table.
    pub charts: Vec<Chart>,
    /// The column names.
    pub header: Vec<String>,
    /// The rows, each as long as the header.
    pub rows: Vec<Vec<String>>,
    /// Notes below the table.
    pub notes: Vec<String>,
}

#[derive(Template)]
#[template(path = "html/table_page.html")]
struct Page<'a> {
    table_page: &'a TablePage,
    charts: Vec<ChartSvg>,
    version: &'static str,
}

impl TablePage {
    /// Renders the page.
    pub fn page(&self) -> anyhow::Result<String> {
        let charts = self.charts.iter().map(ChartSvg::of).collect::<anyhow::Result<_>>()?;
        let page = Page { table_page: self, charts, version: env!("CARGO_PKG_VERSION") };
        page.render().context("writing the page")
    }
}
