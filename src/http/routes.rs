//! The table of endpoints from which both the router and the OpenAPI document are built: the document
//! lists exactly the routes that are served.

use axum::{
    Router,
    handler::Handler,
    http::Method,
    routing::{MethodFilter, on},
};

use super::{
    App,
    openapi::{Inputs, Operation, Signature},
};

/// One endpoint.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) operation: Operation,
    pub(super) inputs: Inputs,
}

/// Endpoints behind the same layers.
#[derive(Debug, Default)]
pub(super) struct Routes {
    pub(super) router: Router<App>,
    pub(super) entries: Vec<Entry>,
}

impl Routes {
    pub(super) fn get<H: Handler<T, App>, T: Signature + 'static>(self, path: &'static str, handler: H, operation: Operation) -> Self {
        self.add((Method::GET, MethodFilter::GET), path, handler, operation)
    }

    pub(super) fn post<H: Handler<T, App>, T: Signature + 'static>(self, path: &'static str, handler: H, operation: Operation) -> Self {
        self.add((Method::POST, MethodFilter::POST), path, handler, operation)
    }

    pub(super) fn put<H: Handler<T, App>, T: Signature + 'static>(self, path: &'static str, handler: H, operation: Operation) -> Self {
        self.add((Method::PUT, MethodFilter::PUT), path, handler, operation)
    }

    pub(super) fn patch<H: Handler<T, App>, T: Signature + 'static>(self, path: &'static str, handler: H, operation: Operation) -> Self {
        self.add((Method::PATCH, MethodFilter::PATCH), path, handler, operation)
    }

    pub(super) fn delete<H: Handler<T, App>, T: Signature + 'static>(self, path: &'static str, handler: H, operation: Operation) -> Self {
        self.add((Method::DELETE, MethodFilter::DELETE), path, handler, operation)
    }

    fn add<H, T>(mut self, method: (Method, MethodFilter), path: &'static str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, App>,
        T: Signature + 'static,
    {
        self.router = self.router.route(path, on(method.1, handler));
        self.entries.push(Entry { method: method.0, path, operation, inputs: T::inputs() });
        self
    }
}
