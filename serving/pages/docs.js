"use strict";

// Shows the OpenAPI document, with the key of this tab in each request.
const key = sessionStorage.getItem("ratchet-key");
history.replaceState(null, "", location.href); // a reload does not send the form with the key again
window.ui = SwaggerUIBundle({
  url: "docs.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  requestInterceptor: (request) => {
    const sent = Object.keys(request.headers).map((name) => name.toLowerCase());
    if (key && !sent.includes("x-api-key") && !sent.includes("authorization")) request.headers["X-API-Key"] = key;
    return request;
  },
});
