//! The description of the API in OpenAPI 3.1, made from the methods and the types of their parameters and results. It is
//! documentation: nothing is routed by it.

use strum::{EnumMessage, VariantArray};
use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, Object, ObjectBuilder, OneOfBuilder, OpenApiBuilder, PathItem,
    PathsBuilder, Ref, RefOr, Required, ResponseBuilder, Schema,
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
        let body = RequestBodyBuilder::new()
            .required(Some(Required::True))
            .content(JSON, ContentBuilder::new().schema(Some(reference::<Q>())).build());
        let answered = ResponseBuilder::new()
            .description("The result, or an error with a code")
            .content(JSON, ContentBuilder::new().schema(Some(Schema::from(answer.build()))).build());
        let refusals = [
            ("400", "The body is not JSON, or a field has another type"),
            ("401", "No key, or one that is not valid"),
            ("408", "The body took too long"),
            ("413", "The body is too long"),
            ("503", "The server stops"),
        ];
        let operation = OperationBuilder::new()
            .operation_id(Some(self.name()))
            .summary(self.get_documentation())
            .request_body(Some(body.build()))
            .response("200", answered);
        let refused = |operation: OperationBuilder, (status, text)| {
            operation.response(status, ResponseBuilder::new().description(text))
        };
        refusals.into_iter().fold(operation, refused).build()
    }
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
