// The provider's page sent this form without our cookies; sent from here, they go with it.
document.getElementById("saml-finish").submit();
