import "/roomcast.js";
