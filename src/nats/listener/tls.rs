//! The same settings of TLS that the library is given, for a connection of our own.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::nats::connect::ConnectError;
use crate::nats::options::Tls;

/// Reads the certificates, which may take a while: the system has hundreds of authorities.
///
/// # Errors
/// [`ConnectError::BadOption`] with the file that cannot be used.
pub(super) fn client_config(tls: &Tls) -> Result<Arc<ClientConfig>, ConnectError> {
    let unusable = |error: &dyn std::fmt::Display| ConnectError::BadOption(format!("TLS: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .with_root_certificates(authorities(tls.authority.as_deref())?);
    let config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| ConnectError::BadOption(format!("key {}: {error}", key.display())))?;
            builder
                .with_client_auth_cert(certificates(certificate)?, private)
                .map_err(|error| unusable(&error))?
        }
    };
    Ok(Arc::new(config))
}

fn authorities(only: Option<&Path>) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore::empty();
    match only {
        Some(path) => {
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| ConnectError::BadOption(format!("{}: {error}", path.display())))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.map_err(|error| ConnectError::BadOption(format!("certificate {}: {error}", path.display())))
}
