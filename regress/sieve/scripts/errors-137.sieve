redirect "a@e.com"; redirect "b@e.com"; redirect "c@e.com"; redirect "d@e.com"; redirect "e@e.com";
