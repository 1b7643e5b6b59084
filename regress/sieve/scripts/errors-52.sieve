if size :over 3T { keep; }
