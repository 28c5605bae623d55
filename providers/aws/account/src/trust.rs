//! Which authorities AWS' certificates may be of.

use std::env;
use std::fmt::Write;

use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fairlead_provider::ProviderError;

/// The certificates of the authorities cannot be used.
pub const NO_TRUST: &str = "NoTrust";

/// Variables that name the machine's own authorities.
const OWN: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// A client that trusts the authorities of Mozilla's list, since an image without a distribution has none, and those of the machine where
/// `SSL_CERT_FILE` or `SSL_CERT_DIR` names them.
pub(crate) fn http_client() -> Result<SharedHttpClient, ProviderError> {
    let has_own = OWN.iter().any(|variable| env::var_os(variable).is_some());
    let trusted = TrustStore::empty()
        .with_native_roots(has_own)
        .with_pem_certificate(authorities());
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context =
        context.map_err(|error| ProviderError::failed(NO_TRUST, "cannot use the authorities' certificates", error))?;
    let client = Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context);
    Ok(client.build_https())
}

/// Mozilla's list as PEM.
fn authorities() -> String {
    let mut pem = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let text = STANDARD.encode(certificate);
        let _ = write!(pem, "-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    }
    pem
}

#[cfg(test)]
mod tests {
    use rustls::RootCertStore;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn every_authority_is_read_back() {
        let pem = authorities();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        assert_eq!(roots.len(), webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
        assert!(http_client().is_ok());
    }
}
