-- {verifier} is what SCRAM makes of the password: no log of the server ever has the password itself.
ALTER ROLE {role} PASSWORD {verifier}
