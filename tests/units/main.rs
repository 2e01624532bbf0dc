//! Parts of the server that are plain code, through their public face.

mod net;
