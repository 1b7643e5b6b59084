keep; redirect "a
