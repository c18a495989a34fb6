"""The OpenAPI document of the addresses for programs."""

from __future__ import annotations

from typing import Any

from tagwise.serving.options import ServeOptions

_ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string", "description": "What is wrong, in one line."}},
    "required": ["error"],
}

_INSTANCE = {
    "type": "object",
    "description": "One instance. Poses have keypoints, boxes a class, masks an RLE.",
    "properties": {
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "box": {
            "type": "array",
            "items": {"type": "number"},
            "minItems": 4,
            "maxItems": 4,
            "description": "x, y, width, height in pixels.",
        },
        "keypoints": {
            "type": "array",
            "description": "x, y, score of each keypoint; [null, null, 0] where it is missing.",
            "items": {"type": "array", "items": {"type": ["number", "null"]}},
        },
        "tags": {"type": "array", "description": "The tag of each detection."},
        "class": {"type": "string"},
        "class_id": {"type": "integer"},
        "area": {"type": "number"},
        "mask": {"type": "object", "description": "A compressed COCO run-length encoding."},
    },
    "required": ["score", "box"],
}

_PREDICTION = {
    "type": "object",
    "description": "The same as NAME.predictions.json of `tagwise predict`; best instance first.",
    "properties": {
        "image": {
            "type": "object",
            "properties": {
                "file": {"type": ["string", "null"]},
                "width": {"type": "integer"},
                "height": {"type": "integer"},
            },
        },
        "model": {"type": "string"},
        "task": {"type": "string", "enum": ["pose", "corners", "pixels"]},
        "keypoints": {"type": "array", "items": {"type": "string"}},
        "skeleton": {
            "type": "array",
            "items": {"type": "array", "items": {"type": "integer"}},
        },
        "instances": {"type": "array", "items": {"$ref": "#/components/schemas/Instance"}},
    },
    "required": ["image", "task", "instances"],
}

_FAILURES = {
    "400": "A parameter is wrong, or the form has no file.",
    "401": "The token is missing or wrong.",
    "408": "The image did not arrive in time.",
    "413": "The file or the image is too large.",
    "415": "The body is not an image.",
    "503": "The queue is full; try again after Retry-After seconds.",
}


def document(options: ServeOptions) -> dict[str, Any]:
    """The document as plain values."""
    schemas = {"Prediction": _PREDICTION, "Instance": _INSTANCE, "Error": _ERROR}
    secured = {"security": [{"token": []}]} if options.token else {}
    schemes = {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tagwise serve",
            "version": "1",
            "description": "Poses, boxes or masks of the instances in an image.",
        },
        "paths": {
            "/predict": {"post": _predict(options)},
            "/models": {"get": _get("The models that weights can name.", "application/json")},
            "/health": {"get": _get("Whether the server answers.", "application/json")},
            "/metrics": {"get": _get("Figures in the format of Prometheus.", "text/plain")},
        },
        "components": {"schemas": schemas, **(schemes if options.token else {})},
        **secured,
    }


def _get(summary: str, kind: str) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": {"description": "OK", "content": {kind: {}}}}}


def _predict(options: ServeOptions) -> dict[str, Any]:
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"image": binary}, "required": ["image"]}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    prediction = {"application/json": {"schema": {"$ref": "#/components/schemas/Prediction"}}}
    return {
        "summary": "Find the instances in an image.",
        "parameters": [
            _parameter("weights", "The name of a model, see /models.", {"type": "string"}),
            _parameter(
                "threshold",
                "Leave out instances with a lower score; by default the model's own.",
                {"type": "number", "minimum": 0, "maximum": 1},
            ),
            _parameter("name", "The file name to write into the result.", {"type": "string"}),
        ],
        "requestBody": {
            "required": True,
            "description": f"An image file of at most {options.upload_mb:g} MB and "
            f"{options.megapixels:g} megapixels.",
            "content": {
                "multipart/form-data": {"schema": form},
                "image/*": {"schema": binary},
                "application/octet-stream": {"schema": binary},
            },
        },
        "responses": {
            "200": {"description": "The instances.", "content": prediction},
            **{code: {"description": words, "content": error} for code, words in _FAILURES.items()},
        },
    }


def _parameter(name: str, words: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": words, "schema": schema}
