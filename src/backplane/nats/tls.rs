//! TLS with NATS: whom a node trusts and how it proves who it is, by the files of the settings or by the system.

use std::path::Path;

use hyper_rustls::ConfigBuilderExt;
use rustls::client::WantsClientCert;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use super::connection::servers;
use crate::config::{ClusterRules, ConfigError, NatsServer, read_file};

/// How a node speaks TLS with NATS, where that does.
#[derive(Clone, Debug)]
pub struct NatsTls(pub(super) ClientConfig);

impl NatsTls {
    /// Reads the files of the settings.
    ///
    /// # Errors
    /// A file cannot be read or holds something else, or the system trusts nobody and the settings name nobody either. The
    /// text names the setting, the file and what would be right.
    pub fn load(rules: &ClusterRules) -> Result<Self, ConfigError> {
        let with_roots = match &rules.authorities {
            Some(path) => builder().with_root_certificates(authorities(path)?),
            None => with_roots_of_system(rules)?,
        };
        let Some((certificate, key)) = &rules.certificate else { return Ok(Self(with_roots.with_no_client_auth())) };
        let chain = certificates("cluster-certificate", certificate)?;
        let rule = "must hold a PEM section BEGIN PRIVATE KEY, whole and without a passphrase";
        // What is wrong with a key is not told: its text might be part of it.
        let private_key = PrivateKeyDer::from_pem_slice(&read_file("cluster-key", key)?.0)
            .map_err(|_| ConfigError::verbatim("cluster-key", key.display(), rule))?;
        let config = with_roots.with_client_auth_cert(chain, private_key).map_err(|error| {
            let certificate = certificate.display();
            let rule = format!("must be the private key of the first certificate in {certificate}: {error}");
            ConfigError::verbatim("cluster-key", key.display(), rule)
        })?;
        Ok(Self(config))
    }
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("the provider has what the versions of TLS need")
}

fn with_roots_of_system(rules: &ClusterRules) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, ConfigError> {
    let speaks_tls = |server: &NatsServer| server.0.starts_with("tls://");
    match builder().with_native_roots() {
        Ok(builder) => Ok(builder),
        Err(error) if rules.servers.iter().any(speaks_tls) => {
            let rule = format!("needs {{cluster-ca}}, since this system trusts no authority: {error}");
            Err(ConfigError::new("cluster", servers(rules), rule))
        }
        // Nobody speaks TLS, unless the server asks for it, which then fails.
        Err(_) => Ok(builder().with_root_certificates(RootCertStore::empty())),
    }
}

fn authorities(path: &Path) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("cluster-ca", path)? {
        let rule = |error| format!("must hold certificates of authorities: {error}");
        roots.add(certificate).map_err(|error| ConfigError::verbatim("cluster-ca", path.display(), rule(error)))?;
    }
    Ok(roots)
}

fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let (pem, _) = read_file(setting, path)?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let rule = "must hold PEM sections BEGIN CERTIFICATE, whole";
    let certificates = certificates.ok().filter(|certificates| !certificates.is_empty());
    certificates.ok_or_else(|| ConfigError::verbatim(setting, path.display(), rule))
}
