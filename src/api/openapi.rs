//! The description of the API in OpenAPI 3.1, made from the methods and the types of their parameters and results. It
//! is documentation: nothing is routed by it.

use strum::{EnumMessage, VariantArray};
use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, Object, ObjectBuilder, OneOfBuilder, OpenApiBuilder, PathItem,
    PathsBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema, Type,
};

use super::requests::{
    BatchRequest, BroadcastRequest, ChannelsRequest, DisconnectRequest, EmptyRequest, HistoryRequest,
    InvalidateUserTokensRequest, PublishRequest, RefreshRequest, RevokeTokenRequest, RoomRequest, SubscribeRequest,
    UnsubscribeRequest,
};
use super::results::{
    BatchResult, BroadcastResult, ChannelsResult, EmptyResult, HistoryResult, InfoResult, PresenceResult,
    PresenceStatsResult, PublishResult,
};
use super::{ApiError, ApiMethod, Call, Reply};

/// What every answer is.
const JSON: &str = "application/json";

/// The header with the key, and the other one that is taken in its place.
const KEY_HEADER: &str = "X-API-Key";
const OTHER_HEADER: &str = "Authorization";

/// What a refusal that no method has made is.
const TEXT: &str = "text/plain";

type Schemas = Vec<(String, RefOr<Schema>)>;

/// The description, as JSON.
pub fn description() -> String {
    let mut schemas = Schemas::new();
    add::<ApiError>(&mut schemas);
    add::<Call>(&mut schemas);
    add::<Reply>(&mut schemas);
    let paths = ApiMethod::VARIANTS.iter().fold(PathsBuilder::new(), |paths, &method| {
        let item = PathItem::new(HttpMethod::Post, method.operation(&mut schemas));
        paths.path(format!("/api/{}", method.name()), item)
    });
    let key = |header, text: &str| SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(header, text)));
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme(KEY_HEADER, key(KEY_HEADER, "The key, as `roomcast gen-key` prints it."))
        .security_scheme(OTHER_HEADER, key(OTHER_HEADER, "`apikey` and the key behind it."));
    let info = InfoBuilder::new()
        .title("Roomcast server API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("What the backend of an application asks of the server. Named and typed as Centrifugo's."));
    let securities = [KEY_HEADER, OTHER_HEADER].map(|name| SecurityRequirement::new(name, [""; 0]));
    let description = OpenApiBuilder::new()
        .info(info.build())
        .paths(paths)
        .components(Some(components.build()))
        .security(Some(securities))
        .build();
    super::to_json(&description)
}

impl ApiMethod {
    fn operation(self, schemas: &mut Schemas) -> Operation {
        match self {
            Self::Publish => self.operation_of::<PublishRequest, PublishResult>(schemas),
            Self::Broadcast => self.operation_of::<BroadcastRequest, BroadcastResult>(schemas),
            Self::Subscribe => self.operation_of::<SubscribeRequest, EmptyResult>(schemas),
            Self::Unsubscribe => self.operation_of::<UnsubscribeRequest, EmptyResult>(schemas),
            Self::Disconnect => self.operation_of::<DisconnectRequest, EmptyResult>(schemas),
            Self::Refresh => self.operation_of::<RefreshRequest, EmptyResult>(schemas),
            Self::Presence => self.operation_of::<RoomRequest, PresenceResult>(schemas),
            Self::PresenceStats => self.operation_of::<RoomRequest, PresenceStatsResult>(schemas),
            Self::History => self.operation_of::<HistoryRequest, HistoryResult>(schemas),
            Self::HistoryRemove => self.operation_of::<RoomRequest, EmptyResult>(schemas),
            Self::Channels => self.operation_of::<ChannelsRequest, ChannelsResult>(schemas),
            Self::Info => self.operation_of::<EmptyRequest, InfoResult>(schemas),
            Self::Batch => self.operation_of::<BatchRequest, BatchResult>(schemas),
            Self::RevokeToken => self.operation_of::<RevokeTokenRequest, EmptyResult>(schemas),
            Self::InvalidateUserTokens => self.operation_of::<InvalidateUserTokensRequest, EmptyResult>(schemas),
        }
    }

    fn operation_of<Q: ToSchema, R: ToSchema>(self, schemas: &mut Schemas) -> Operation {
        add::<Q>(schemas);
        add::<R>(schemas);
        let result = match self {
            // Alone in the answer, as Centrifugo has it.
            Self::Batch => reference::<R>(),
            _ => field("result", reference::<R>()).into(),
        };
        let answer = OneOfBuilder::new().item(result).item(field("error", reference::<ApiError>()));
        let is_body_needed = if self.has_no_parameters() { Required::False } else { Required::True };
        let body = RequestBodyBuilder::new()
            .required(Some(is_body_needed))
            .content(JSON, ContentBuilder::new().schema(Some(reference::<Q>())).build());
        let answered = ResponseBuilder::new()
            .description("The result, or an error with a code")
            .content(JSON, ContentBuilder::new().schema(Some(Schema::from(answer.build()))).build());
        let operation = OperationBuilder::new()
            .operation_id(Some(self.name()))
            .summary(self.get_documentation())
            .parameter(error_mode())
            .request_body(Some(body.build()))
            .response("200", answered);
        refusals()
            .into_iter()
            .fold(operation, |operation, (status, refusal)| operation.response(status, refusal))
            .build()
    }

    /// Whether all parameters of the method may be missing. An empty body is that of an object without fields.
    fn has_no_parameters(self) -> bool {
        matches!(self, Self::Channels | Self::Info)
    }
}

/// The header by which a client has errors come as statuses.
fn error_mode() -> Parameter {
    let text = ObjectBuilder::new().schema_type(Type::String);
    ParameterBuilder::new()
        .name("X-Centrifugo-Error-Mode")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("`transport`: errors come as statuses, each with the error alone as its body."))
        .schema(Some(text))
        .build()
}

/// The statuses that refuse a call. Some of them come only to clients that want errors as statuses.
fn refusals() -> [(&'static str, Response); 12] {
    let refusal = |text: &str| ResponseBuilder::new().description(text);
    let error = || ContentBuilder::new().schema(Some(reference::<ApiError>())).build();
    let text = || ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String))).build();
    let malformed = "The body is not JSON, or a field has another type; as an error: 106, 107, 108";
    [
        ("400", refusal(malformed).content(TEXT, text()).content(JSON, error()).build()),
        ("401", refusal("No key, or one that is not valid").build()),
        ("403", refusal("As an error: 103").content(JSON, error()).build()),
        ("404", refusal("As an error: 104").content(JSON, error()).build()),
        ("405", refusal("The method is not POST").build()),
        ("408", refusal("The body took too long").build()),
        ("409", refusal("As an error: 113").content(JSON, error()).build()),
        ("413", refusal("The body is too long").build()),
        ("416", refusal("As an error: 112").content(JSON, error()).build()),
        ("429", refusal("Too many connections of one address; as an error: 111").content(JSON, error()).build()),
        ("500", refusal("As an error: 100").content(JSON, error()).build()),
        ("503", refusal("The server stops").build()),
    ]
}

/// Adds the schema of a type, and those of the types in it.
fn add<T: ToSchema>(schemas: &mut Schemas) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

fn reference<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

/// An object with one field.
fn field(name: &str, schema: RefOr<Schema>) -> Object {
    ObjectBuilder::new().property(name, schema).required(name).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_that_an_error_can_have_is_described() {
        let described = refusals().map(|(status, _)| status.to_owned());
        for code in 100..=200 {
            let status = ApiError { code, message: String::new() }.status().to_string();
            assert!(described.contains(&status), "{code}: {status}");
        }
    }
}
