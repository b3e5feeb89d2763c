//! The headers before requests and responses.
//!
//! Which header goes with which version of a request is [`ApiKey::request_header_version`] and
//! [`ApiKey::response_header_version`].

use crate::{
    ApiKey,
    codec::{DecodeError, DecodeProblem, Decoder, Encoder, Str},
};

/// What stands before every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// The API, see [`ApiKey`]. Not necessarily one that exists.
    pub key: i16,
    /// The API's version. Not necessarily one that exists.
    pub version: i16,
    /// Goes back with the response.
    pub correlation_id: i32,
    pub client_id: Option<Str<'a>>,
}

/// Reads the header of a request (without the frame's length), returns it and where the body starts.
///
/// An API that is not known is an error; a version that is not known is read as the API's next one would be, so that
/// ApiVersions can be answered in any version (KIP-511).
pub fn parse_request_header(frame: &[u8]) -> Result<(RequestHeader<'_>, usize), DecodeError> {
    let mut d = Decoder::new(frame);
    read(&mut d)
        .map(|header| (header, frame.len() - d.remaining()))
        .map_err(|error| DecodeError { message: "RequestHeader", ..error })
}

fn read<'a>(d: &mut Decoder<'a>) -> Result<RequestHeader<'a>, DecodeError> {
    let key = d.i16()?;
    let version = d.i16()?;
    let correlation_id = d.i32()?;
    let api = ApiKey::try_from(key).map_err(|_| d.error(DecodeProblem::Type(i64::from(key))))?;
    // The client id keeps its int16 length even where everything else is compact.
    let client_id = d.nullable_string()?;
    if api.request_header_version(version) >= 2 {
        d.set_version(2, true);
        d.skip_tags()?;
    }
    Ok(RequestHeader { key, version, correlation_id, client_id })
}

/// Appends the header of a request.
pub fn write_request_header(
    e: &mut Encoder,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<(), crate::codec::EncodeError> {
    e.i16(api as i16);
    e.i16(version);
    e.i32(correlation_id);
    let (outer, outer_flexible) = e.set_version(1, false);
    e.nullable_string(client_id)?;
    e.set_version(outer, outer_flexible);
    if api.request_header_version(version) >= 2 {
        e.i8(0);
    }
    Ok(())
}

/// Appends the header of the response to a request of that API and version.
pub fn write_response_header(e: &mut Encoder, api: ApiKey, version: i16, correlation_id: i32) {
    e.i32(correlation_id);
    if api.response_header_version(version) >= 1 {
        e.i8(0);
    }
}

/// Reads the header of a response (without the frame's length), returns the correlation id and where the body starts.
pub fn parse_response_header(frame: &[u8], api: ApiKey, version: i16) -> Result<(i32, usize), DecodeError> {
    let mut d = Decoder::new(frame);
    let correlation_id = d.i32()?;
    if api.response_header_version(version) >= 1 {
        d.set_version(1, true);
        d.skip_tags()?;
    }
    Ok((correlation_id, frame.len() - d.remaining()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(api: ApiKey, version: i16, client_id: Option<&str>) -> Vec<u8> {
        let mut e = Encoder::new();
        write_request_header(&mut e, api, version, 7, client_id).unwrap();
        e.into_bytes()
    }

    #[test]
    fn request_headers_come_back_in_both_forms() {
        for (version, length) in [(8, 2 + 2 + 4 + 2 + 3), (9, 2 + 2 + 4 + 2 + 3 + 1)] {
            let mut bytes = written(ApiKey::Produce, version, Some("abc"));
            bytes.push(0xff);
            let (header, body) = parse_request_header(&bytes).unwrap();
            assert_eq!(body, length);
            let expected = RequestHeader { key: 0, version, correlation_id: 7, client_id: Some("abc".into()) };
            assert_eq!(header, expected);
        }
        let bytes = written(ApiKey::Fetch, 18, None);
        assert_eq!(parse_request_header(&bytes).unwrap().0.client_id, None);
    }

    #[test]
    fn an_api_versions_request_of_the_future_is_readable() {
        let bytes = written(ApiKey::ApiVersions, 99, Some("new"));
        let (header, body) = parse_request_header(&bytes).unwrap();
        assert_eq!((header.version, body), (99, bytes.len()));
    }

    #[test]
    fn what_is_no_header_is_an_error() {
        for cut in 0..12 {
            assert!(parse_request_header(&written(ApiKey::Produce, 3, Some("abc"))[..cut]).is_err(), "{cut}");
        }
        assert!(parse_request_header(&[0x03, 0xe7, 0, 0, 0, 0, 0, 0, 0xff, 0xff]).is_err());
        assert!(parse_request_header(&[0, 0, 0, 9, 0, 0, 0, 0, 0x7f, 0xff, 0]).is_err());
    }

    #[test]
    fn responses_of_api_versions_never_have_tagged_fields() {
        for (api, version, length) in
            [(ApiKey::ApiVersions, 4, 4), (ApiKey::Produce, 8, 4), (ApiKey::Produce, 9, 5), (ApiKey::Fetch, 12, 5)]
        {
            let mut e = Encoder::new();
            write_response_header(&mut e, api, version, 5);
            assert_eq!(e.bytes().len(), length);
            assert_eq!(parse_response_header(e.bytes(), api, version), Ok((5, length)));
        }
    }
}
