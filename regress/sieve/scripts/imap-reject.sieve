require ["imapsieve", "reject"];
reject "a";
