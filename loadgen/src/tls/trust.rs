//! Which certificates a client accepts. Signatures are checked even where any certificate is accepted.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// The certificates that are accepted.
#[derive(Debug)]
pub struct Trust {
    /// Verifies by the authorities of the file; `None` if any certificate is accepted.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    /// The certificates of the file. A server that shows one of them is the right one, whatever name it has.
    certificates: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trust {
    /// Trust in the certificates of a PEM file; in any certificate if there is no file.
    pub fn new(ca: Option<&Path>, provider: CryptoProvider) -> anyhow::Result<Self> {
        let algorithms = provider.signature_verification_algorithms;
        let Some(path) = ca else { return Ok(Self { authorities: None, certificates: Vec::new(), algorithms }) };
        let in_file = || format!("--ca {}", path.display());
        let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certificates = found.with_context(in_file)?;
        ensure!(!certificates.is_empty(), "{}: it has no certificate in PEM", in_file());
        let mut roots = RootCertStore::empty();
        certificates.iter().try_for_each(|certificate| roots.add(certificate.clone())).with_context(in_file)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider)).build();
        Ok(Self { authorities: Some(verifier.with_context(in_file)?), certificates, algorithms })
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.authorities {
            // A certificate that signs itself is often marked as an authority, which no server's may be.
            Some(authorities) if !self.certificates.contains(end_entity) => {
                authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
