//! placeholder until the page is merged
pub fn page(_: &super::Report) -> anyhow::Result<String> {
    anyhow::bail!("not yet")
}
