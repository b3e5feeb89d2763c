//! Authentication, authorization, encryption, tokens.

use crate::config::key::{Key, boolean, class, double, int, list, long, password, short, string};

const NO_TLS: &str = "TLS is not there yet";
const NO_SASL: &str = "SASL is not there yet";

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    string("authorizer.class.name").default("").low()
        .refused("authorization is not there yet", "Java class that decides who may do what; empty lets everyone do everything."),
    class("principal.builder.class").default("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder").per_broker()
        .refused("Java plugins cannot be loaded", "Java class that gives a connection its principal."),
    string("security.providers").low()
        .refused("Java plugins cannot be loaded", "Java classes that provide security algorithms."),
    password("delegation.token.secret.key")
        .refused("delegation tokens are not there yet", "Secret that delegation tokens are made with; the same on all brokers."),
    long("delegation.token.max.lifetime.ms").default("604800000").at_least(1)
        .later("delegation tokens", "Time after which a delegation token cannot be renewed."),
    long("delegation.token.expiry.time.ms").default("86400000").at_least(1)
        .later("delegation tokens", "Time after which a delegation token must be renewed."),
    long("delegation.token.expiry.check.interval.ms").default("3600000").at_least(1).low()
        .later("delegation tokens", "How often expired delegation tokens are removed."),
    list("sasl.enabled.mechanisms").default("GSSAPI").per_broker()
        .refused(NO_SASL, "SASL mechanisms that are offered to clients."),
    string("sasl.mechanism.inter.broker.protocol").default("GSSAPI").per_broker()
        .refused(NO_SASL, "SASL mechanism that brokers use among themselves."),
    string("sasl.mechanism.controller.protocol").default("GSSAPI").high()
        .refused(NO_SASL, "SASL mechanism for connections to controllers."),
    password("sasl.jaas.config").per_broker().refused(NO_SASL, "Login data for SASL, as one line of JAAS."),
    class("sasl.client.callback.handler.class")
        .refused(NO_SASL, "Java class that answers the callbacks of a SASL client."),
    class("sasl.login.callback.handler.class").refused(NO_SASL, "Java class that answers the callbacks of a login."),
    class("sasl.server.callback.handler.class")
        .refused(NO_SASL, "Java class that answers the callbacks of a SASL server."),
    class("sasl.login.class").refused(NO_SASL, "Java class that logs in."),
    int("sasl.server.max.receive.size").default("524288")
        .refused(NO_SASL, "Largest request in bytes before a client has authenticated."),
    string("sasl.kerberos.kinit.cmd").default("/usr/bin/kinit").per_broker().refused(NO_SASL, "Path of kinit."),
    long("sasl.kerberos.min.time.before.relogin").default("60000").per_broker()
        .refused(NO_SASL, "Least time between two logins to Kerberos."),
    list("sasl.kerberos.principal.to.local.rules").default("DEFAULT").per_broker()
        .refused(NO_SASL, "Rules that make short names of Kerberos principals."),
    string("sasl.kerberos.service.name").per_broker().refused(NO_SASL, "Kerberos name that the brokers run under."),
    double("sasl.kerberos.ticket.renew.jitter").default("0.05").per_broker()
        .refused(NO_SASL, "Random part of the time for renewal of a ticket."),
    double("sasl.kerberos.ticket.renew.window.factor").default("0.8").per_broker()
        .refused(NO_SASL, "Share of a ticket's life after which it is renewed."),
    int("sasl.login.connect.timeout.ms").low().refused(NO_SASL, "How long connecting to the token provider may take."),
    int("sasl.login.read.timeout.ms").low().refused(NO_SASL, "How long reading from the token provider may take."),
    short("sasl.login.refresh.buffer.seconds").default("300").per_broker()
        .refused(NO_SASL, "Seconds that should be left when a login is refreshed."),
    short("sasl.login.refresh.min.period.seconds").default("60").per_broker()
        .refused(NO_SASL, "Least seconds between two refreshes of a login."),
    double("sasl.login.refresh.window.factor").default("0.8").per_broker()
        .refused(NO_SASL, "Share of a login's life after which it is refreshed."),
    double("sasl.login.refresh.window.jitter").default("0.05").per_broker()
        .refused(NO_SASL, "Random part of the time for refreshing a login."),
    long("sasl.login.retry.backoff.ms").default("100").low()
        .refused(NO_SASL, "Pause before the token provider is asked again."),
    long("sasl.login.retry.backoff.max.ms").default("10000").low()
        .refused(NO_SASL, "Longest pause before the token provider is asked again."),
    string("sasl.oauthbearer.assertion.algorithm").default("RS256").one_of_ignoring_case(&["ES256", "RS256"])
        .refused(NO_SASL, "Algorithm that signs the assertion sent to the token provider."),
    string("sasl.oauthbearer.assertion.claim.aud").refused(NO_SASL, "Audience of the assertion."),
    int("sasl.oauthbearer.assertion.claim.exp.seconds").default("300").range(0, 86_400).low()
        .refused(NO_SASL, "Seconds that the assertion is valid."),
    string("sasl.oauthbearer.assertion.claim.iss").refused(NO_SASL, "Issuer of the assertion."),
    boolean("sasl.oauthbearer.assertion.claim.jti.include").default("false")
        .refused(NO_SASL, "Gives every assertion an id of its own."),
    int("sasl.oauthbearer.assertion.claim.nbf.seconds").default("60").range(0, 3600).low()
        .refused(NO_SASL, "Seconds before now from which the assertion is valid."),
    string("sasl.oauthbearer.assertion.claim.sub").refused(NO_SASL, "Subject of the assertion."),
    string("sasl.oauthbearer.assertion.file").refused(NO_SASL, "File with a ready assertion."),
    string("sasl.oauthbearer.assertion.private.key.file")
        .refused(NO_SASL, "File with the private key that signs the assertion."),
    password("sasl.oauthbearer.assertion.private.key.passphrase").refused(NO_SASL, "Passphrase of that private key."),
    string("sasl.oauthbearer.assertion.template.file").refused(NO_SASL, "File with further claims of the assertion."),
    string("sasl.oauthbearer.client.credentials.client.id").refused(NO_SASL, "Client id for the token provider."),
    password("sasl.oauthbearer.client.credentials.client.secret")
        .refused(NO_SASL, "Client secret for the token provider."),
    int("sasl.oauthbearer.clock.skew.seconds").default("30").low()
        .refused(NO_SASL, "Seconds by which the clocks of token provider and broker may differ."),
    list("sasl.oauthbearer.expected.audience").default("").high()
        .refused(NO_SASL, "Audiences of which a token must name one."),
    string("sasl.oauthbearer.expected.issuer").high().refused(NO_SASL, "Issuer that a token must name."),
    string("sasl.oauthbearer.jwks.endpoint.url").refused(NO_SASL, "Where the token provider's keys are found."),
    long("sasl.oauthbearer.jwks.endpoint.refresh.ms").default("3600000").low()
        .refused(NO_SASL, "How often the token provider's keys are fetched."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms").default("100").low()
        .refused(NO_SASL, "Pause before the keys are asked for again."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms").default("10000").low()
        .refused(NO_SASL, "Longest pause before the keys are asked for again."),
    class("sasl.oauthbearer.jwt.retriever.class").default("org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever")
        .refused(NO_SASL, "Java class that fetches tokens."),
    class("sasl.oauthbearer.jwt.validator.class").default("org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator")
        .refused(NO_SASL, "Java class that checks tokens."),
    string("sasl.oauthbearer.scope").refused(NO_SASL, "Scope that a token is asked for."),
    string("sasl.oauthbearer.scope.claim.name").default("scope").low()
        .refused(NO_SASL, "Name of the claim that holds the scope."),
    string("sasl.oauthbearer.sub.claim.name").default("sub").low()
        .refused(NO_SASL, "Name of the claim that holds the subject."),
    string("sasl.oauthbearer.token.endpoint.url").refused(NO_SASL, "Where the token provider gives out tokens."),
    string("ssl.client.auth").default("none").one_of(&["required", "requested", "none"]).per_broker()
        .refused(NO_TLS, "Whether clients must, may or need not show a certificate."),
    list("ssl.enabled.protocols").default("TLSv1.2,TLSv1.3").per_broker()
        .refused(NO_TLS, "TLS versions that are offered."),
    string("ssl.protocol").default("TLSv1.3").per_broker()
        .refused(NO_TLS, "TLS version that is used where both sides can."),
    list("ssl.cipher.suites").default("").per_broker()
        .refused(NO_TLS, "Cipher suites that are offered; empty offers all."),
    string("ssl.endpoint.identification.algorithm").default("https").low().per_broker()
        .refused(NO_TLS, "How a server's name is checked against its certificate; empty does not."),
    class("ssl.engine.factory.class").low().per_broker().refused(NO_TLS, "Java class that makes TLS engines."),
    password("ssl.key.password").per_broker().refused(NO_TLS, "Password of the private key."),
    string("ssl.keymanager.algorithm").default("SunX509").per_broker().refused(NO_TLS, "Algorithm of the key manager."),
    password("ssl.keystore.certificate.chain").per_broker().refused(NO_TLS, "Certificate chain, as PEM."),
    password("ssl.keystore.key").per_broker().refused(NO_TLS, "Private key, as PEM."),
    string("ssl.keystore.location").per_broker().refused(NO_TLS, "File with the key and its certificates."),
    password("ssl.keystore.password").per_broker().refused(NO_TLS, "Password of that file."),
    string("ssl.keystore.type").default("JKS").per_broker().refused(NO_TLS, "Format of that file."),
    string("ssl.principal.mapping.rules").default("DEFAULT").low()
        .refused(NO_TLS, "Rules that make a principal of a certificate's name."),
    string("ssl.provider").per_broker().refused(NO_TLS, "Security provider for TLS."),
    string("ssl.secure.random.implementation").low().per_broker().refused(NO_TLS, "Source of random numbers for TLS."),
    string("ssl.trustmanager.algorithm").default("PKIX").per_broker()
        .refused(NO_TLS, "Algorithm of the trust manager."),
    password("ssl.truststore.certificates").per_broker().refused(NO_TLS, "Trusted certificates, as PEM."),
    string("ssl.truststore.location").per_broker().refused(NO_TLS, "File with the trusted certificates."),
    password("ssl.truststore.password").per_broker().refused(NO_TLS, "Password of that file."),
    string("ssl.truststore.type").default("JKS").per_broker().refused(NO_TLS, "Format of that file."),
    boolean("ssl.allow.dn.changes").default("false").low()
        .refused(NO_TLS, "Allows a new keystore whose certificate has another distinguished name."),
    boolean("ssl.allow.san.changes").default("false").low()
        .refused(NO_TLS, "Allows a new keystore whose certificate lacks some of the old names."),
];
