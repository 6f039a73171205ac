// How programs on the host are asked over HTTP: by a password, and over TLS. Pure.

/** RFC 7617. */
export function basicAuth(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

/** Node's codes for a certificate that it does not take (its manual, TLS, X509 certificate error codes). */
export const UNTRUSTED =
  /^(?:CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|ERR_TLS_CERT)/;

/** And for a handshake that does not come about, as with who does not speak TLS. */
export const NO_HANDSHAKE = /^(?:ERR_SSL_|ERR_OSSL_|ERR_TLS_|EPROTO$)/;
