// validatorUrl: Swagger UI would send the contract to a validator on the internet.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui", validatorUrl: null });
