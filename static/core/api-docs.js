// Starts Swagger UI on this server's own document; the session's CSRF token goes with every "try it out".
const place = document.getElementById("api-docs");
const token = document.querySelector('meta[name="csrf-token"]')?.content ?? "";

window.SwaggerUIBundle({
  domNode: place,
  url: place.dataset.schema,
  deepLinking: true,
  persistAuthorization: false,
  docExpansion: "none",
  filter: true,
  requestInterceptor: (request) => {
    if (new URL(request.url, location.href).origin === location.origin) request.headers["X-CSRFToken"] = token;
    return request;
  },
});
