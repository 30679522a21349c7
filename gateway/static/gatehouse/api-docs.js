/* The pages of the REST API, drawn by Swagger UI from our own description. */
"use strict";

const place = document.getElementById("api");
SwaggerUIBundle({
    domNode: place,
    url: place.dataset.schema,
    deepLinking: true,
    docExpansion: "none",
    defaultModelsExpandDepth: 0,
    validatorUrl: null,
});
